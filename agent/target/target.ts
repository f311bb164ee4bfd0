/** The container (or process) the agent works beside. */
export interface AgentTarget {
  /** Main process, in the agent's process namespace. */
  readonly pid: number
  /** O_PATH descriptor of the target's root folder, for `openBelow`. */
  readonly rootFd: number
  /** Id as Kubernetes prints it, without the runtime's prefix; empty for `process` and where it is not known. */
  readonly containerId: string
  /** Addresses of the pod as given by the client; may be empty. */
  readonly podIps: readonly string[]
  /** Runs `make` with this thread in the target's network namespace; it must do its work synchronously. May be nested. */
  inNamespace<T>(make: () => T): T
}
