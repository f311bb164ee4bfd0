import { localMoment, rfc3339 } from "./moment.ts"
import { type Arguments, anything, argument, integer, text, truth, type Value } from "./value.ts"

type TemplateFunction = (args: Arguments, environment: Readonly<Record<string, string | undefined>>) => Value

/** Numbers a `range` may have. */
const maxRange = 100_000

/** The functions of the Tera language. */
export const functions: Readonly<Record<string, TemplateFunction>> = {
  get_env(args, environment) {
    const name = argument(args, "name", text)
    const found = environment[name] ?? args["default"]
    if (found === undefined) throw new Error(`the environment variable ${name} is not set`)
    return found
  },

  range(args) {
    const start = argument(args, "start", integer, 0)
    const end = argument(args, "end", integer)
    const step = argument(args, "step_by", integer, 1)
    if (start < 0 || end < start || step < 1) throw new Error("a range goes up from 0 or more, in steps of 1 or more")
    const count = Math.ceil((end - start) / step)
    if (count > maxRange) throw new Error(`a range may have up to ${maxRange} numbers`)
    return Array.from({ length: count }, (_, index) => start + index * step)
  },

  now(args) {
    const now = Date.now()
    if (argument(args, "timestamp", truth, false)) return Math.floor(now / 1000)
    return rfc3339(argument(args, "utc", truth, false) ? { ms: now, offsetMinutes: 0 } : localMoment(now))
  },

  get_random(args) {
    const start = argument(args, "start", integer, 0)
    const end = argument(args, "end", integer)
    if (end <= start) throw new Error(`there is no number from ${start} to below ${end}`)
    return start + Math.floor(Math.random() * (end - start))
  },

  throw(args) {
    throw new Error(String(argument(args, "message", anything)))
  },
}
