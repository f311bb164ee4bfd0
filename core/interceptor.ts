/** An IP endpoint; `ip` in text form without brackets, v4-mapped addresses shown as IPv4. */
export interface Endpoint {
  ip: string
  port: number
}

/** A connection the kernel handed to the agent instead of the application. The socket is paused until somebody reads. */
export interface DivertedConnection {
  /** File descriptor of the accepted socket, owned by the receiver. */
  fd: number
  source: Endpoint
  /** Where the connection was going, before any rule changed it. */
  destination: Endpoint
}

export interface DiversionOptions {
  /** Runs `make` with the calling thread inside the target's network namespace; `make` must be synchronous. */
  inNamespace<T>(make: () => T): T
  /** Addresses of the target pod; traffic the pod sends to itself on these is diverted too. */
  podIps: readonly string[]
  /** Cut established connections to a port when it starts being diverted. Default false. */
  flushConnections: boolean
  onConnection(connection: DivertedConnection): void
}

/** Takes incoming traffic out of a target's network. Provided by exactly one plugin on the agent side. */
export interface Interceptor {
  /** Makes listeners and an empty rule set. @throws AppError "interception-unavailable" with the missing capability. */
  open(options: DiversionOptions): Promise<Diversion>
}

/** The rules of one agent in one network namespace. Everything it holds is gone when the process dies. */
export interface Diversion {
  /** From its return on, new connections to these ports arrive at `onConnection`. @throws AppError "port-taken" */
  add(ports: readonly number[]): Promise<void>
  /** From its return on, new connections to these ports reach the application directly. */
  remove(ports: readonly number[]): Promise<void>
  /**
   * Opens a TCP connection to the application that the diversion itself does not catch.
   * Resolves with the connected socket's descriptor, owned by the caller.
   */
  connectToApplication(destination: Endpoint): Promise<number>
  close(): Promise<void>
}
