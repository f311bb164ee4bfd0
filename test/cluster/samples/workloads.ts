import { sampleImage } from "./images.ts"

export interface SampleOptions {
  /** Default: the echo sample. */
  image?: string
  replicas?: number
  /** Default: HTTP 8080, TCP 7000, UDP 7001; also the sample's own defaults. */
  environment?: Record<string, string>
  command?: string[]
  labels?: Record<string, string>
  /** Merged into the pod's specification. */
  pod?: Record<string, unknown>
}

/** Ports of the sample program, as its containers and services name them. */
export const samplePorts = [
  { name: "http", port: 8080, protocol: "TCP" },
  { name: "tcp", port: 7000, protocol: "TCP" },
  { name: "udp", port: 7001, protocol: "UDP" },
]

export function container(name: string, options: SampleOptions = {}) {
  return {
    name,
    image: options.image ?? sampleImage.reference,
    imagePullPolicy: "Never",
    ...(options.command && { command: options.command }),
    env: Object.entries({ SAMPLE_NAME: name, ...options.environment }).map(([key, value]) => ({ name: key, value })),
    ports: samplePorts.map(({ name: portName, port, protocol }) => ({ name: portName, containerPort: port, protocol })),
    readinessProbe: { tcpSocket: { port: "http" }, periodSeconds: 1 },
  }
}

/** A second server in the same pod has to use other ports. */
export function sidecar(name: string) {
  const environment = { HTTP_PORT: "8081", TCP_PORT: "7010", UDP_PORT: "7011" }
  const { readinessProbe: _, ports: __, ...rest } = container(name, { environment })
  return { ...rest, ports: [{ name: "side-http", containerPort: 8081 }] }
}

function podSpec(name: string, options: SampleOptions) {
  return { terminationGracePeriodSeconds: 1, containers: [container(name, options)], ...options.pod }
}

function template(name: string, options: SampleOptions) {
  return { metadata: { labels: { app: name, ...options.labels } }, spec: podSpec(name, options) }
}

function workload(kind: string, name: string, options: SampleOptions, extra: object) {
  return {
    apiVersion: "apps/v1",
    kind,
    metadata: { name, labels: { app: name } },
    spec: { selector: { matchLabels: { app: name } }, template: template(name, options), ...extra },
  }
}

export const deployment = (name: string, options: SampleOptions = {}) =>
  workload("Deployment", name, options, { replicas: options.replicas ?? 1 })

export const statefulSet = (name: string, options: SampleOptions = {}) =>
  workload("StatefulSet", name, options, { replicas: options.replicas ?? 1, serviceName: name })

export const daemonSet = (name: string, options: SampleOptions = {}) => workload("DaemonSet", name, options, {})

export const replicaSet = (name: string, options: SampleOptions = {}) =>
  workload("ReplicaSet", name, options, { replicas: options.replicas ?? 1 })

export const pod = (name: string, options: SampleOptions = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name, ...options.labels } },
  spec: podSpec(name, options),
})

/** Two servers in one pod: `NAME` on the usual ports and `side` on 8081. */
export const twoContainerPod = (name: string, options: SampleOptions = {}) =>
  pod(name, { ...options, pod: { containers: [container(name, options), sidecar("side")], ...options.pod } })

function jobSpec(name: string, options: SampleOptions) {
  const spec = { ...podSpec(name, options), restartPolicy: "Never" }
  return { backoffLimit: 0, template: { metadata: { labels: { app: name, ...options.labels } }, spec } }
}

/** A job that keeps serving, as one that is a target has to; `command: ["/bin/sample", "exit"]` makes it end. */
export const job = (name: string, options: SampleOptions = {}) => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name, labels: { app: name } },
  spec: jobSpec(name, options),
})

export const cronJob = (name: string, options: SampleOptions = {}) => ({
  apiVersion: "batch/v1",
  kind: "CronJob",
  metadata: { name, labels: { app: name } },
  spec: { schedule: "* * * * *", jobTemplate: { spec: jobSpec(name, options) } },
})

/** The service of the workload of this name, with IPv6 beside IPv4 where the cluster has both. */
export const service = (name: string, extra: Record<string, unknown> = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, labels: { app: name } },
  spec: {
    selector: { app: name },
    ipFamilyPolicy: "PreferDualStack",
    ports: samplePorts.map(({ name: portName, port, protocol }) => ({
      name: portName,
      port,
      targetPort: port,
      protocol,
    })),
    ...extra,
  },
})
