import type { AgentHooks, ClientHooks, OperatorHooks } from "../plugin.ts"

export type Role = "operator" | "agent" | "client"

export interface HooksOf {
  operator: OperatorHooks
  agent: AgentHooks
  client: ClientHooks
}

/** See `core/plugin.ts` for what each verb promises. */
export type HookKind = "lifecycle" | "authorize" | "filter" | "on" | "provide" | "add"

/** Every hook there is. TypeScript keeps it equal to the interfaces; boot refuses any other name. */
export const hooks: { readonly [R in Role]: { readonly [K in keyof Required<HooksOf[R]>]: HookKind } } = {
  operator: {
    start: "lifecycle",
    notReady: "lifecycle",
    addRoutes: "add",
    provideCallerAccess: "provide",
    authorizeSession: "authorize",
    authorizeSubscription: "authorize",
    authorizeFile: "authorize",
    authorizeOutgoing: "authorize",
    filterEnv: "filter",
    onSessionOpened: "on",
    onSessionClosed: "on",
    onAudit: "on",
  },
  agent: { start: "lifecycle", notReady: "lifecycle", provideInterceptor: "provide" },
  client: { start: "lifecycle", notReady: "lifecycle", authorizeLaunch: "authorize", provideEngine: "provide" },
}

/** Names of a role's hooks that begin with the verb. */
export type HookName<R extends Role, Verb extends HookKind> = Extract<keyof HooksOf[R], `${Verb}${Capitalize<string>}`>

/** A hook's function type. */
export type Hook<R extends Role, K extends keyof HooksOf[R]> = Extract<
  NonNullable<HooksOf[R][K]>,
  (...args: never[]) => unknown
>
