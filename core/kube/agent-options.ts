/** What may be chosen about an agent's container. Names and defaults: the `agent` section of the client configuration. */
export interface AgentOptions {
  image: string
  imagePullPolicy: string
  imagePullSecrets?: { name: string }[]
  /** How long a finished Job is kept. */
  ttlSeconds: number
  /** How long the agent waits for its first client. */
  communicationTimeoutSeconds: number
  logLevel: string
  jsonLog: boolean
  labels?: Record<string, string>
  annotations?: Record<string, string>
  disableMeshSidecarInjection: boolean
  nodeSelector?: Record<string, string>
  tolerations?: unknown[]
  serviceAccount?: string
  priorityClass?: string
  /** Kubernetes resource requirements. */
  resources?: unknown
  privileged: boolean
  disabledCapabilities: readonly string[]
  /**
   * Drop what container runtimes give by default. The default set holds DAC_OVERRIDE, without which the agent cannot read
   * files that only their owner may (mode 0600); but with it and the host's process ids it could read any on the node.
   */
  leastCapabilities: boolean
  securityContext?: { appArmorProfile?: SecurityProfile; seccompProfile?: SecurityProfile }
  excludeFromMesh: boolean
  flushConnections: boolean
  maxBodyBufferBytes: number
  maxBodyBufferTimeoutMs: number
  httpDetectionTimeoutSeconds: number
  /** Sent as it is; agents read it as seconds. */
  jqTimeLimit: number
  nftables?: boolean
  dnsAttempts?: number
  dnsTimeoutSeconds?: number
  /** `ip:port` of the agent's metrics listener. */
  metrics?: string
  injectHeaders: boolean
  cleanIptablesOnStart?: boolean
  externalIpFix: boolean
  overrideCacheControl: boolean
  /** Operator only: more of the agent's environment; these win over what the other options make. */
  extraEnv?: Readonly<Record<string, string>>
  /** Operator only: its self-signed certificate, PEM. */
  operatorCertificate?: string
  /** Operator only: base64 without padding of a JSON array. */
  stealTlsConfig?: string
  /** Operator only: stay this long after the last client left; 0 = not at all. */
  idleTtlSeconds?: number
}

export interface SecurityProfile {
  type: string
  localhostProfile?: string
}

/** What the client sends when the configuration says nothing. */
export const defaultAgentOptions: Omit<AgentOptions, "image"> = {
  imagePullPolicy: "IfNotPresent",
  ttlSeconds: 1,
  communicationTimeoutSeconds: 30,
  logLevel: "info",
  jsonLog: false,
  disableMeshSidecarInjection: true,
  privileged: false,
  disabledCapabilities: [],
  // As the original: programs expect to read the files their pod reads.
  leastCapabilities: false,
  excludeFromMesh: false,
  flushConnections: true,
  maxBodyBufferBytes: 65_535,
  maxBodyBufferTimeoutMs: 1_000,
  httpDetectionTimeoutSeconds: 2,
  jqTimeLimit: 1,
  injectHeaders: false,
  externalIpFix: true,
  overrideCacheControl: true,
}
