import type { Hono } from "hono"
import type { GenericSchema, InferOutput } from "valibot"
import type { Engine } from "./client/engine.ts"
import type { Interceptor } from "./interceptor.ts"
import type { Kube, Query } from "./kube/kube.ts"
import type { Metadata } from "./kube/objects.ts"
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

/** Answer to an `authorize…` question; it is awaited for ten seconds at most, then it counts as a denial. A denial names its rule; it is a value, never an exception. */
export type Decision = { allow: true } | Denial

export interface Denial {
  allow: false
  /** For machines: kebab-case. */
  code: string
  /** A short clause for whoever was refused, without a full stop. */
  reason: string
  /** Name of the object behind it, where there is one: the client shows it, and the audit keeps it. Default: the plugin's name. */
  policy?: string
}

export type FileDecision = { allow: true } | FileDenial

/** What a file is to the program: without `answer`, not permitted (EACCES). */
export interface FileDenial extends Denial {
  answer?: FileAnswer
}

/**
 * `not-found`: as if it was not there (ENOENT). `local`: opened on the client's machine instead, which is no denial to
 * anybody's record; whatever is not an open, or comes from a client that cannot do this, finds no file.
 */
export type FileAnswer = "not-found" | "local"

/**
 * A capability of podside: one plain object. Importing it does nothing; state lives in the closure of the role function;
 * every change is undone by a `defer` beside it. README.md has a whole example.
 */
export interface Plugin<S extends GenericSchema = GenericSchema> {
  /** Equal to the folder (or file) name, kebab-case. */
  name: string
  /** Plugins that must stand earlier in the list. */
  needs?: string[]
  /** `v.strictObject`; each key says its unit. The plugin's part of the configuration is checked against it at boot. */
  config: S
  operator?(host: OperatorHost<S>): OperatorHooks
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

export interface OperatorHost<S extends GenericSchema = GenericSchema> extends Host<S> {
  kube: Cluster
}

/**
 * The cluster as the operator's own account may see it: for objects a plugin goes by, never for a caller's question. From
 * `start` on. What more a plugin needs, a ClusterRole among the chart's `extraObjects` can allow.
 */
export interface Cluster extends Pick<Kube, "request" | "list" | "pages" | "watch"> {
  /**
   * Keeps a collection in memory until the role stops: lists it, then watches. Resolves after the first list; `onChange` has heard of
   * it then, and hears of every later state. @param path of the collection, e.g. `/api/v1/namespaces/shop/configmaps`
   * @throws KubeError when the first list is refused
   */
  follow<T extends { metadata: Metadata }>(
    path: string,
    onChange: (objects: readonly T[]) => void,
    query?: Query,
  ): Promise<void>
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

/** What a route finds in its context: the caller. */
export interface RouteEnv {
  Variables: { identity: Identity }
}

export interface OperatorHooks extends Lifecycle {
  /**
   * More of the operator's API. Paths begin with `/apis/operator.metalbear.co/v1/`, others the API server does not pass on; a path that
   * is there already stays as it is. Whoever calls has passed the front door, and Kubernetes has allowed the verb on what stands in
   * the path (`get house` for `GET …/v1/house`); `c.get("identity")` says who it is. What a route throws is answered as a Status.
   */
  addRoutes?(app: Hono<RouteEnv>): void
  /** How Kubernetes is asked about targets on a caller's behalf. */
  provideCallerAccess?(): CallerAccess
  /** Before anything is done for a new session. */
  authorizeSession?(request: SessionRequest): Promise<Decision>
  /** Before a port of a target is mirrored or stolen. */
  authorizeSubscription?(request: SubscriptionRequest): Promise<Decision>
  /** Before a remote file is opened, looked at or changed by its path. */
  authorizeFile?(request: FileAccess): Promise<FileDecision>
  /** Before a connection is made from the target, or a name is looked up there. */
  authorizeOutgoing?(request: OutgoingRequest): Promise<Decision>
  /** Variables a session will see, by name; returns those that may pass, changed where need be. */
  filterEnv?(session: Session, variables: Map<string, string>): Map<string, string>
  /** Once for each session, on the replica its first socket came to. */
  onSessionOpened?(session: Session): void
  /** Once for each session, on the replica that closed it: it may be another one. */
  onSessionClosed?(session: Session, why: string): void
  /** What was decided and done, as it is logged: sessions that begin, are refused, killed or end, and requests that are refused. */
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
