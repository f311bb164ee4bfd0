import type { Endpoint } from "../../../core/interceptor.ts"

/** What a socket's packets carry for rules to see. */
export interface Stamp {
  /** SO_MARK */
  mark: number
  /** SO_PRIORITY: four bytes, as the kernel keeps them. */
  priority?: Uint8Array
  /** The socket's own address; otherwise the kernel's choice. */
  from?: string
}

/** Rules that give connections to the application the address of their caller. */
export interface CallerRules {
  /** Stamps that have the kernel do it: the first with the caller's port, which may be taken, then with any. None: it cannot be. */
  stampsFor(caller: Endpoint): Stamp[]
  /**
   * Makes connection tracking forget all of them, before the rules go: it stays a moment longer and would drop the first packet of a caller
   * that takes its port again. @throws LinuxError
   */
  forget(): void
}

/** Rules that copy packets to a log group (nfnetlink_log) and leave them where they go. */
export interface CopyRules {
  /** Makes them, without ports. @throws LinuxError when the kernel cannot */
  open(group: number): void
  /**
   * New connections to these ports reach the application and their packets the group; not diverted any more, without a moment between.
   * @throws LinuxError, AppError "port-taken"
   */
  copy(ports: readonly number[]): void
  /** Of ports that were diverted or removed since, established connections are copied until this. @throws LinuxError */
  release(ports: readonly number[]): void
}

/** What a backend must be able to do with the kernel's rules in one network namespace. All calls run inside that namespace. */
export interface RuleSet {
  /** For logs and tests: "nf_tables" or "iptables-nft", "iptables-legacy". */
  readonly backend: string
  /** Undefined: the application sees the pod's own address. */
  readonly callers?: CallerRules
  /** Undefined: this kind of rules cannot copy. */
  readonly copies?: CopyRules
  /** From its return on new connections to these ports go to the listener, copied no more. @throws LinuxError, AppError "port-taken" */
  add(ports: readonly number[]): void
  /** Ports that are not there are ignored. @throws LinuxError */
  remove(ports: readonly number[]): void
  close(): void
}

export interface RuleSetOptions {
  /** Port of the agent's listener, on every address of the namespace, both families. */
  listenerPort: number
  /** Give connections to the application the address of their caller, where this kind of rules and the kernel can. */
  keepCallers: boolean
  /** Connections that carry this mark (all its bits) are never redirected. */
  ownMark: number
  /** Cut connections that were established before their port was added and that connection tracking was made to forget. */
  flush: boolean
  /** A mesh is said to be in the pod, whether its rules are seen or not. */
  meshExpected: boolean
  /**
   * Gives a descriptor a number that is closed after those of all connections when the agent is killed. What belongs to the rules is to be
   * there: without it the end of a connection whose address they map would never reach the application.
   */
  closeLast(fd: number): number
  /** Names the agent in rules, so that another one can say who holds a port; letters, digits, underscores. */
  holder: string
}
