import { readFileSync } from "node:fs"
import { parseEnv } from "node:util"
import { compilePattern } from "../../../config/pattern.ts"
import { AppError, fileFault } from "../../errors.ts"
import { AnswerQueue } from "../answer-queue.ts"
import type { Conversation } from "../conversation.ts"
import { forbiddenText, toErrno } from "./response-errno.ts"

export interface EnvOptions {
  /** Wildcard patterns (`*`, `?`) of names to fetch; absent = all. */
  include?: readonly string[]
  exclude?: readonly string[]
  /** Path of a dotenv file. */
  envFile?: string
  /** Pattern of a name to the value every such variable gets. */
  mapping?: readonly (readonly [pattern: string, value: string])[]
  override?: Readonly<Record<string, string>>
  /** Exact names the program must not see. */
  unset?: readonly string[]
}

export type Environment = Record<string, string>

/** How long an agent may take, and the pause before it is asked again, in milliseconds. */
const fetchLimitMs = 30_000
const retryPauseMs = 500

/** Asks for the pod's variables; call it before `conversation.begin()`, await it after. */
export function createEnvSource(
  conversation: Conversation,
): (options: EnvOptions, limitMs?: number) => Promise<Environment> {
  type Answer = Parameters<Parameters<typeof conversation.on<"GetEnvVarsResponse">>[1]>[0]
  const answers = new AnswerQueue<Answer>()
  conversation.on("GetEnvVarsResponse", (answer) => {
    if (!answers.answer(answer)) conversation.broken("an environment")
  })
  conversation.onInterrupted((error) => answers.failWaiting(error))
  conversation.onEnd((error) => answers.fail(error))
  return async ({ include, exclude }, limitMs = fetchLimitMs) => {
    if (exclude?.includes("*") && !include) return {}
    const value = { envVarsFilter: [...(exclude ?? [])], envVarsSelect: [...(include ?? ["*"])] }
    const deadline = performance.now() + limitMs
    for (;;) {
      const answered = answers.next()
      conversation.send({ kind: "GetEnvVarsRequest", value })
      const answer = await within(answered, deadline - performance.now())
      if (answer.kind === "Ok") return Object.fromEntries(answer.value)
      const again = answer.value.kind === "SystemFailure" && answer.value.value.canRetry
      if (!again || performance.now() + retryPauseMs > deadline) {
        const why = forbiddenText(answer.value) ?? toErrno(answer.value).message
        throw new AppError("env-refused", `The ${conversation.peer} does not give the pod's environment: ${why}`, {
          next: "Ask the cluster's owner, or go without: `feature.env: false`.",
        })
      }
      await Bun.sleep(retryPauseMs)
    }
  }
}

async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new AppError("env-timeout", "The pod's environment did not arrive in time", { next: "Try again." }))
  }, ms)
  try {
    return await Promise.race([work, promise])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The whole environment of the program: the developer's, then the pod's over it, then the file, the mapping, the
 * overrides, and at last what must not be there. @throws AppError "bad-env-file", "config-bad-pattern"
 */
export function composeEnv(local: Environment, remote: Environment, options: EnvOptions): Environment {
  const fetched: Environment = { ...remote, ...(options.envFile ? readEnvFile(options.envFile) : {}) }
  for (const [pattern, value] of options.mapping ?? []) {
    const expression = compilePattern(pattern)
    for (const name of Object.keys(fetched)) if (expression.test(name)) fetched[name] = value
  }
  const whole = { ...local, ...fetched, ...options.override }
  for (const name of options.unset ?? []) delete whole[name]
  return whole
}

function readEnvFile(path: string): Environment {
  try {
    return parseEnv(readFileSync(path, "utf8")) as Environment
  } catch (thrown) {
    throw new AppError("bad-env-file", `Cannot read the variables in ${path}: ${fileFault(thrown)}`, {
      cause: thrown,
      next: "Check feature.env.env_file or --env-file.",
    })
  }
}
