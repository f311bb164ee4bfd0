import type { Socket } from "bun"

/**
 * The mark (SO_MARK) of connections rules leave alone. The bit mirrord uses for the same purpose; clear of the marks of kube-proxy, Istio
 * and the common network plugins.
 */
export const ownMark = 0x2000

/** An IP endpoint; `ip` in text form without brackets, v4-mapped addresses shown as IPv4. */
export interface Endpoint {
  ip: string
  port: number
}

/** A connected TCP socket, allowed to be half open, without Nagle's delay. Its events go to `socket.data`. */
export type TcpSocket = Socket<TcpEvents>

export interface TcpEvents {
  /** `bytes` may be kept. */
  onData(bytes: Buffer): void
  /** After a `write` that did not take everything: there is room again. */
  onDrain(): void
  /** The peer sends no more; the other direction stays open. Not called when this side had ended before. */
  onEnd(): void
  /** Over, both ways; `error` when it was not in good order. Called once. */
  onClose(error?: Error): void
}

/** Between whom a connection was meant to be. */
export interface Route {
  source: Endpoint
  /** Where the connection was going, before any rule changed it. */
  destination: Endpoint
}

/** Sees what a caller sends, without any say in it. */
export interface Tap {
  /** `bytes` may be kept. */
  onData(bytes: Buffer): void
  /** The caller sends no more. */
  onEnd(): void
  /** The connection is over. */
  onClose(): void
  /** Something could not be seen: nothing more comes, not even the end. */
  onLost(reason: string): void
  /** Nobody looks on any more. */
  readonly over: boolean
}

/** A connection the kernel handed to the agent instead of the application. */
export interface DivertedConnection extends Route {
  socket: TcpSocket
}

/**
 * `auto`: nf_tables by netlink where the kernel has it, iptables programs otherwise. `nf_tables-unowned` works as on kernels whose tables
 * nobody can own (before 5.12): a second process removes what a killed agent leaves.
 */
export const diversionBackends = ["auto", "nf_tables", "nf_tables-unowned", "iptables-nft", "iptables-legacy"] as const
export type DiversionBackend = (typeof diversionBackends)[number]

export interface DiversionOptions {
  /** Runs `make` with the calling thread inside the target's network namespace; `make` must be synchronous. */
  inNamespace<T>(make: () => T): T
  /** Cut established connections to a port when it starts being diverted. Default false. */
  flushConnections?: boolean
  /** For that also make connection tracking forget them, where the kernel cannot reset them at once. Default true. */
  flushConntrack?: boolean
  /** Connections to the application go to the loopback address instead of where the caller's went. Default false. */
  applicationOnLoopback?: boolean
  /** The application sees its callers' addresses, where the kernel can do that. Default true. */
  keepCallers?: boolean
  /** The pod is in a mesh, even if its rules cannot be seen. Default: as seen. */
  meshExpected?: boolean
  /** Default `auto`. */
  backend?: DiversionBackend
  /** Says who takes care of the socket from now on. */
  onConnection(connection: DivertedConnection): TcpEvents
  /** A connection to a copied port stands. Says who looks on; undefined: nobody. */
  onCopied(route: Route): Tap | undefined
  /** Connections to copied ports may have come and gone unseen. */
  onCopiesMissed(reason: string): void
  /** Packets to a copied port do not fit into copies: whoever wants all connections is to have it diverted. */
  onTooLargeToCopy(port: number): void
}

/** Rules of agents that are not podside's: in use, or left by one that failed. */
export interface ForeignRules {
  /** Names of their chains; empty: there are none. */
  names: readonly string[]
  /** @throws AppError when some are still there afterwards */
  remove(): void
}

/** Takes incoming traffic out of a target's network. Provided by exactly one plugin on the agent side. */
export interface Interceptor {
  /**
   * Looks for rules of mirrord's agents beside a container. `containerId`: empty when it is any of the pod, undefined when it is not
   * known; then only what old versions left is found. @throws AppError
   */
  findForeignRules(
    options: Pick<DiversionOptions, "inNamespace"> & { containerId: string | undefined },
  ): Promise<ForeignRules>
  /** Keeps a port of the agent's own out of a mesh's hands until the returned function is called. @throws AppError */
  exemptPort(options: Pick<DiversionOptions, "inNamespace" | "backend"> & { port: number }): Promise<() => void>
  /** Makes listeners and an empty rule set. @throws AppError "interception-unavailable" with the missing capability. */
  open(options: DiversionOptions): Promise<Diversion>
}

/** The rules of one agent in one network namespace. Everything it holds is gone when the process dies. */
export interface Diversion {
  /** Which kind of rules was made, for logs. */
  readonly backend: string
  /** From its return on, new connections to these ports arrive at `onConnection`, copied no more. @throws AppError "port-taken" */
  add(ports: readonly number[]): Promise<void>
  /**
   * From its return on, new connections to these ports reach the application directly, and copies of what their callers send come to
   * `onCopied`; the copy of a connection goes on when its port is added or removed meanwhile. The application never waits for it: what
   * cannot be kept up with is lost, and told. False: this cannot be done here, and nothing has changed. @throws AppError "port-taken"
   */
  copy(ports: readonly number[]): Promise<boolean>
  /** From its return on, new connections to these ports reach the application directly. */
  remove(ports: readonly number[]): Promise<void>
  /**
   * Opens a TCP connection to the application that the diversion itself does not catch. The application sees it come from the source's
   * address and port, as far as `keepCallers`, the kind of rules and the kernel allow; otherwise from one of the target's own addresses,
   * which a source on the loopback keeps in any case. The socket may still be connecting: until then `write` takes nothing and
   * `onDrain` tells when it does. A failure shows as `onClose` with an error.
   * @throws LinuxError when it fails at once, as it does when nobody listens
   */
  connectToApplication(route: Route, events: TcpEvents): TcpSocket
  /** Removes the rules and closes the listener; connections that were handed out go on. */
  close(): Promise<void>
}
