import type { OperatorSettings } from "../../config/operator.ts"
import type { Plugins } from "../host.ts"
import type { Kube } from "../kube/kube.ts"
import type { Logger } from "../log.ts"
import type { Identity } from "../session.ts"
import type { AgentSource } from "./agents/agent-source.ts"
import type { PodWatch } from "./agents/pod-watch.ts"
import type { StealTls } from "./agents/steal-tls.ts"
import type { Audit } from "./audit/audit.ts"
import type { KeyPair } from "./credentials/operator-keys.ts"
import type { UserCertificates } from "./credentials/user-certificates.ts"
import type { PortLocks } from "./locks/port-locks.ts"
import type { OperatorMetrics } from "./metrics/operator-metrics.ts"
import type { SessionRegistry } from "./session/registry.ts"
import type { SessionChanges } from "./session/session-changes.ts"

/** What the API's routes work with. */
export interface Operator {
  settings: OperatorSettings
  log: Logger
  /** The operator's own connection: for its agents and its state, never for a caller's question. */
  kube: Kube
  /** Every question about a target goes through this. */
  asCaller(identity: Identity): Kube
  plugins: Plugins<"operator">
  certificates: UserCertificates
  /** Presented to agents; undefined for plain TCP. */
  agentIdentity: KeyPair | undefined
  agents: AgentSource
  stealTls: StealTls
  podWatch: PodWatch
  sessions: SessionRegistry
  changes: SessionChanges
  locks: PortLocks
  audit: Audit
  metrics: OperatorMetrics
}
