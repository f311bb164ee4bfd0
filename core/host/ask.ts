import { AppError, errorText } from "../errors.ts"
import type { Logger } from "../log.ts"
import type { FileDecision, FileDenial } from "../plugin.ts"
import type { LoadedPlugin } from "./check.ts"
import type { Hook, HookName, HooksOf, Role } from "./hooks.ts"

/** A plugin of a running role. */
export interface Wired<R extends Role> {
  name: string
  loaded: LoadedPlugin
  hooks: HooksOf[R]
}

/** A denial names the plugin behind it. */
export type Verdict = { allow: true } | Denied

/** `answer` is of `authorizeFile` alone. */
export interface Denied extends FileDenial {
  plugin: string
}

/** What the client is told stands in the way. */
export const policyName = ({ plugin, policy }: Pick<Denied, "plugin" | "policy">): string => policy ?? plugin

/** The running plugins of one role: the only way core asks them anything. */
export interface Plugins<R extends Role> {
  /** Does anybody have this hook? Lets a caller skip the work of asking. */
  has(hook: keyof HooksOf[R]): boolean
  /** Asks everyone in list order; the first denial wins; a throw, silence or anything but a Decision denies. Never rejects. */
  authorize<K extends HookName<R, "authorize">>(hook: K, ...args: Parameters<Hook<R, K>>): Promise<Verdict>
  /** Passes the last argument through everyone in list order. @throws AppError "plugin-failed" */
  filter<K extends HookName<R, "filter">>(hook: K, ...args: Parameters<Hook<R, K>>): ReturnType<Hook<R, K>>
  /** Tells everyone; a throw is logged and changes nothing. */
  notify<K extends HookName<R, "on">>(hook: K, ...args: Parameters<Hook<R, K>>): void
  /** What the one plugin with this hook provides. @throws AppError "no-provider" */
  provide<K extends HookName<R, "provide">>(hook: K): ReturnType<Hook<R, K>>
  /** Lets everyone contribute, in list order. @throws AppError "plugin-failed" */
  add<K extends HookName<R, "add">>(hook: K, ...args: Parameters<Hook<R, K>>): void
  /** `plugin: reason` of everyone who is not ready; empty means ready. */
  notReady(): string[]
  /** Aborts `host.signal`, then undoes everything, last first. Safe to call twice. */
  stop(): Promise<void>
}

/** How long one plugin may think about one request before that counts as a denial, in milliseconds. */
const authorizeLimitMs = 10_000

export function ask<R extends Role>(wired: readonly Wired<R>[], log: Logger, stop: () => Promise<void>): Plugins<R> {
  type AnyHook = (...args: unknown[]) => unknown
  const having = (hook: keyof HooksOf[R]) =>
    wired.flatMap(({ name, hooks }) => {
      const run = hooks[hook] as AnyHook | undefined
      return run ? [{ name, run: (...args: unknown[]) => run.apply(hooks, args) }] : []
    })
  const fault = (name: string, hook: unknown, thrown: unknown) =>
    new AppError("plugin-failed", `Plugin "${name}" failed in ${String(hook)}: ${errorText(thrown)}`, { cause: thrown })

  return {
    has: (hook) => having(hook).length > 0,
    async authorize(hook, ...args) {
      for (const { name, run } of having(hook)) {
        const decision = await decide(() => run(...args))
        if (decision.allow) continue
        const { code, reason, policy, answer } = decision
        if (answer !== "local") log.info("plugin denied", { plugin: name, hook: String(hook), code, reason, policy })
        return { ...decision, plugin: name }
      }
      return { allow: true }
    },
    filter(hook, ...args) {
      const context = args.slice(0, -1)
      let value: unknown = args.at(-1)
      for (const { name, run } of having(hook)) {
        try {
          value = run(...context, value)
          if (value === undefined) throw new TypeError("it returned nothing")
        } catch (thrown) {
          throw fault(name, hook, thrown)
        }
      }
      return value as ReturnType<Hook<R, typeof hook>>
    },
    notify(hook, ...args) {
      for (const { name, run } of having(hook)) {
        const complain = (thrown: unknown) =>
          log.warn("plugin failed while observing", { plugin: name, hook: String(hook), error: errorText(thrown) })
        try {
          const result = run(...args)
          if (result instanceof Promise) result.catch(complain)
        } catch (thrown) {
          complain(thrown)
        }
      }
    },
    provide(hook) {
      const [provider] = having(hook)
      if (!provider)
        throw new AppError("no-provider", `No plugin has ${String(hook)}`, { next: "See podside plugin list." })
      return provider.run() as ReturnType<Hook<R, typeof hook>>
    },
    add(hook, ...args) {
      for (const { name, run } of having(hook)) {
        try {
          run(...args)
        } catch (thrown) {
          throw fault(name, hook, thrown)
        }
      }
    },
    notReady() {
      return wired.flatMap(({ name, hooks }) => {
        try {
          const reason = hooks.notReady?.()
          return reason === undefined ? [] : [`${name}: ${reason}`]
        } catch (thrown) {
          return [`${name}: ${errorText(thrown)}`]
        }
      })
    },
    stop,
  }
}

/** One plugin's answer, where everything that is not a clear "yes" is a "no". */
async function decide(question: () => unknown): Promise<FileDecision> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<FileDenial>((resolve) => {
    const reason = `no decision within ${authorizeLimitMs / 1000} s`
    timer = setTimeout(() => resolve({ allow: false, code: "authorization-late", reason }), authorizeLimitMs)
  })
  try {
    const given = (await Promise.race([question(), late])) as { [key in keyof Denied]?: unknown }
    if (given?.allow === true) return { allow: true }
    if (given?.allow === false) {
      const denial: FileDenial = {
        allow: false,
        code: String(given.code ?? "denied"),
        reason: String(given.reason ?? "no reason given"),
      }
      if (given.policy !== undefined) denial.policy = String(given.policy)
      if (given.answer === "local" || given.answer === "not-found") denial.answer = given.answer
      return denial
    }
    return { allow: false, code: "authorization-failed", reason: "the answer was no decision" }
  } catch (thrown) {
    return { allow: false, code: "authorization-failed", reason: `the decision failed: ${errorText(thrown)}` }
  } finally {
    clearTimeout(timer)
  }
}
