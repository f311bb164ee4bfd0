import type { Hono } from "hono"
import type { GenericSchema, InferOutput } from "valibot"
import type { Engine } from "./client/engine.ts"
import type { Interceptor } from "./interceptor.ts"
import type { Kube } from "./kube/kube.ts"
import type { Logger } from "./log.ts"
import type {
  AuditEvent,
  FileAccess,
  Identity,
  OutgoingRequest,
  Session,
  SessionRequest,
  SubscriptionRequest,
} from "./session.ts"

/** Answer to an `authorize…` question. A denial names its rule; it is a value, never an exception. */
export type Decision = { allow: true } | { allow: false; code: string; reason: string }

/**
 * A capability of podside: one plain object. Importing it does nothing; state lives in the closure of the role function;
 * every change is undone by a `defer` beside it. See CONTRIBUTING.md for a whole example.
 */
export interface Plugin<S extends GenericSchema = GenericSchema> {
  /** Equal to the folder (or file) name, kebab-case. */
  name: string
  /** Plugins that must stand earlier in the list. */
  needs?: string[]
  /** `v.strictObject`; each key says its unit. The plugin's part of the configuration is checked against it at boot. */
  config: S
  operator?(host: Host<S>): OperatorHooks
  agent?(host: Host<S>): AgentHooks
  client?(host: Host<S>): ClientHooks
}

export interface Host<S extends GenericSchema = GenericSchema> {
  config: InferOutput<S>
  log: Logger
  /** Aborted when the role stops. */
  signal: AbortSignal
  /** Registers an undo; run last-in first-out when the role stops, and also after a failed start. */
  defer(undo: () => unknown): void
}

/** `start` runs in list order after every plugin was wired; `notReady` gives the reason, or undefined when ready. */
export interface Lifecycle {
  start?(): Promise<void>
  notReady?(): string | undefined
}

/*
 * The verb of a hook tells its rule.
 * authorize…  everyone is asked in list order, the first denial wins, a throw denies
 * filter…     a value passes through everyone in list order; a throw ends the request
 * on…         observes; a throw is logged and changes nothing
 * provide…    exactly one plugin must have it
 * add…        contributes
 */

/**
 * Gives the cluster as this caller sees it. What the caller may not do fails with AppError "kube-forbidden", also when it
 * cannot be found out. `kube` is the operator's own connection.
 */
export type CallerAccess = (kube: Kube, identity: Identity) => Kube

export interface OperatorHooks extends Lifecycle {
  addRoutes?(app: Hono): void
  /** How Kubernetes is asked about targets on a caller's behalf. */
  provideCallerAccess?(): CallerAccess
  /** Before anything is done for a new session. */
  authorizeSession?(request: SessionRequest): Promise<Decision>
  /** Before a port of a target is mirrored or stolen. */
  authorizeSubscription?(request: SubscriptionRequest): Promise<Decision>
  authorizeFile?(request: FileAccess): Promise<Decision>
  authorizeOutgoing?(request: OutgoingRequest): Promise<Decision>
  /** Variables a session will see; returns those that may pass. */
  filterEnv?(session: Session, variables: Map<string, string>): Map<string, string>
  /** Once for each session, on the replica its first socket came to. */
  onSessionOpened?(session: Session): void
  /** Once for each session, on the replica that closed it: it may be another one. */
  onSessionClosed?(session: Session, why: string): void
  onAudit?(event: AuditEvent): void
}

export interface AgentHooks extends Lifecycle {
  provideInterceptor?(): Interceptor
}

export interface ClientHooks extends Lifecycle {
  /** Before a program is started in a session. */
  authorizeLaunch?(request: SessionRequest): Promise<Decision>
  provideEngine?(): Engine
}

/** Gives the object back unchanged; it is there so that `config` is inferred from the schema. */
export function definePlugin<const S extends GenericSchema>(plugin: Plugin<S>): Plugin<S> {
  return plugin
}
