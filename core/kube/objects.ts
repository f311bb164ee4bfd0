/*
 * The parts of Kubernetes objects podside reads, as the API server sends them (times are RFC 3339 text). Every field a
 * server may leave out is optional here, so that the compiler asks for the other case.
 */

export interface Metadata {
  name: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  creationTimestamp?: string
  deletionTimestamp?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  ownerReferences?: OwnerReference[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
}

export interface Container {
  name: string
  image?: string
  env?: unknown[]
  envFrom?: unknown[]
  ports?: { containerPort: number; protocol?: string; name?: string }[]
  volumeMounts?: { mountPath: string; subPath?: string; subPathExpr?: string }[]
  livenessProbe?: Probe
  readinessProbe?: Probe
  startupProbe?: Probe
  /** Of an init container: "Always" makes it one that runs beside the others. */
  restartPolicy?: string
}

export interface Probe {
  httpGet?: { port: number | string; host?: string }
  grpc?: { port: number }
}

export interface ContainerStatus {
  name: string
  ready?: boolean
  containerID?: string
  state?: {
    running?: { startedAt?: string }
    waiting?: { reason?: string; message?: string }
    terminated?: { exitCode?: number; reason?: string; message?: string }
  }
}

export interface PodSpec {
  nodeName?: string
  containers: Container[]
  initContainers?: Container[]
  ephemeralContainers?: (Container & { targetContainerName?: string })[]
  shareProcessNamespace?: boolean
}

export interface Pod {
  metadata: Metadata
  spec: PodSpec
  status?: {
    phase?: string
    reason?: string
    message?: string
    podIP?: string
    podIPs?: { ip: string }[]
    conditions?: { type: string; status: string; reason?: string; message?: string }[]
    containerStatuses?: ContainerStatus[]
    initContainerStatuses?: ContainerStatus[]
    ephemeralContainerStatuses?: ContainerStatus[]
  }
}

export interface LabelSelector {
  matchLabels?: Record<string, string>
  matchExpressions?: { key: string; operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; values?: string[] }[]
}

/** Any object that makes pods. A Service has its labels directly under `selector`. */
export interface Workload {
  apiVersion?: string
  kind?: string
  metadata: Metadata
  spec?: {
    replicas?: number
    selector?: LabelSelector
    template?: { metadata?: Partial<Metadata>; spec?: PodSpec }
    workloadRef?: { apiVersion?: string; kind?: string; name?: string }
  }
  status?: { availableReplicas?: number; readyReplicas?: number; active?: number | OwnerReference[] }
}

export interface Service {
  metadata: Metadata
  spec?: { selector?: Record<string, string> }
}

export interface KubeEvent {
  metadata: Metadata
  type?: string
  reason?: string
  message?: string
  involvedObject?: { kind?: string; name?: string; uid?: string }
}
