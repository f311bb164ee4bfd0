/** Whose files and network the agent works with. */
export interface Surroundings {
  /** O_PATH descriptor of the root folder, for `openBelow`; negative when the agent may not see it. */
  readonly rootFd: number
  /** Below which etc/resolv.conf and etc/hosts are read. */
  readonly namesRootFd: number
  /** Process whose environment is read: "self" or a number. */
  readonly environmentOf: number | "self"
  /** Variables the environment of that process is laid over: what the container was started with, as far as that is known. */
  readonly baseEnvironment: Promise<ReadonlyMap<string, string>>
  /** Runs `make` with this thread in the right network namespace; it must do its work synchronously. May be nested. */
  inNamespace<T>(make: () => T): T
}

/** The container (or process) the agent works beside. */
export interface AgentTarget extends Surroundings {
  /** Main process, in the agent's process namespace. */
  readonly pid: number
  /** Id as Kubernetes prints it, without the runtime's prefix; empty for `process` and where it is not known. */
  readonly containerId: string
}
