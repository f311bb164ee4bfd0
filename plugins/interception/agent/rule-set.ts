/** What a backend must be able to do with the kernel's rules in one network namespace. All calls run inside that namespace. */
export interface RuleSet {
  /** For logs and tests: "nf_tables" or "iptables-nft", "iptables-legacy". */
  readonly backend: string
  /** From its return on new connections to these ports go to the listener. @throws LinuxError, AppError "port-taken" */
  add(ports: readonly number[]): void
  /** Ports that are not there are ignored. @throws LinuxError */
  remove(ports: readonly number[]): void
  close(): void
}

export interface RuleSetOptions {
  /** Port of the agent's listener, on every address of the namespace, both families. */
  listenerPort: number
  /** Connections that carry this mark (all its bits) are never redirected. */
  ownMark: number
  /** Cut connections that were established before their port was added and that connection tracking was made to forget. */
  flush: boolean
  /** A mesh is said to be in the pod, whether its rules are seen or not. */
  meshExpected: boolean
  /** Names the agent in rules, so that another one can say who holds a port; letters, digits, underscores. */
  holder: string
}
