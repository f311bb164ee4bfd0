import type { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Metadata, Pod } from "../../../kube/objects.ts"

/** Why the operator's API is registered and answers nothing, and what to do about it. */
export interface OutOfService {
  reason: string
  next: string
}

interface Condition {
  type: string
  status: string
  message?: string
}

interface ApiService {
  metadata: Metadata
  spec?: { service?: { name?: string; namespace?: string } }
  status?: { conditions?: Condition[] }
}

type WithConditions = { metadata: Metadata; status?: { conditions?: Condition[] } }

const apiServiceName = "v1.operator.metalbear.co"
const injectedFrom = "cert-manager.io/inject-ca-from"
const issuedFor = "cert-manager.io/certificate-name"
const maxReasonCharacters = 400
/** Of each question, in milliseconds: a cluster in trouble may be slow, too. */
const questionMs = 5_000

/** Follows the trouble to its cause as far as the caller may look. `refusal`: the API server's answer in the operator's place. */
export async function outOfService(kube: Kube, refusal: KubeError): Promise<OutOfService> {
  const ask = asker(kube)
  const service = await ask<ApiService>(`/apis/apiregistration.k8s.io/v1/apiservices/${apiServiceName}`)
  const trouble = service && ((await certificateTrouble(ask, service)) ?? (await podTrouble(ask, service)))
  const { reason, next } = trouble ?? unexplained(service, refusal)
  return { reason: reason.slice(0, maxReasonCharacters), next }
}

/** An answer, or undefined where the caller may not look or there is nothing. */
type Ask = <T>(path: string, query?: Record<string, string>) => Promise<T | undefined>

const asker =
  (kube: Kube): Ask =>
  async <T>(path: string, query?: Record<string, string>) =>
    kube.request<T>("GET", path, { query, timeoutMs: questionMs }).catch(() => undefined)

/** The certificate comes from cert-manager, and has not come. */
async function certificateTrouble(ask: Ask, service: ApiService): Promise<OutOfService | undefined> {
  const [namespace, name] = (service.metadata.annotations?.[injectedFrom] ?? "").split("/")
  if (!namespace || !name) return undefined
  const folder = `/apis/cert-manager.io/v1/namespaces/${encodeURIComponent(namespace)}`
  const certificate = await ask<WithConditions>(`${folder}/certificates/${encodeURIComponent(name)}`)
  const state = certificate && notReady(certificate)
  if (!state) return undefined
  // The certificate only says that it waits for its newest request, which knows the reason.
  const requests = (await ask<{ items?: WithConditions[] }>(`${folder}/certificaterequests`))?.items ?? []
  const newest = requests
    .filter(({ metadata }) => metadata.annotations?.[issuedFor] === name)
    .sort((one, other) => (one.metadata.creationTimestamp ?? "").localeCompare(other.metadata.creationTimestamp ?? ""))
    .at(-1)
  const why = (newest && notReady(newest)?.message) || state.message || "it does not say why"
  return {
    reason: `cert-manager has not issued the Certificate "${name}" in ${namespace}: ${why}`,
    next: `Correct its issuer (values tls.certManager); \`kubectl -n ${namespace} describe certificaterequests\` tells more.`,
  }
}

const notReady = ({ status }: WithConditions) =>
  status?.conditions?.find((condition) => condition.type === "Ready" && condition.status !== "True")

/** The operator's pods are missing or not ready. */
async function podTrouble(ask: Ask, { spec }: ApiService): Promise<OutOfService | undefined> {
  const { namespace, name } = spec?.service ?? {}
  if (!namespace || !name) return undefined
  const folder = `/api/v1/namespaces/${encodeURIComponent(namespace)}`
  const service = await ask<{ spec?: { selector?: Record<string, string> } }>(
    `${folder}/services/${encodeURIComponent(name)}`,
  )
  const labelSelector = Object.entries(service?.spec?.selector ?? {})
    .map((pair) => pair.join("="))
    .join(",")
  const pods = labelSelector && (await ask<{ items?: Pod[] }>(`${folder}/pods`, { labelSelector }))?.items
  if (!pods) return undefined
  if (pods.length === 0) {
    return {
      reason: `its service "${name}" in ${namespace} has no pods`,
      next: `Look with \`kubectl -n ${namespace} describe deployments,replicasets\` why there are none.`,
    }
  }
  const isReady = ({ status }: Pod) => status?.conditions?.some((one) => one.type === "Ready" && one.status === "True")
  const pod = pods.find((one) => !isReady(one))
  if (!pod || pods.some(isReady)) return undefined
  const command = startedOnce(pod) ? "logs" : "describe pod"
  return {
    reason: `its pod "${pod.metadata.name}" in ${namespace} is not ready: ${await whyNotReady(ask, folder, pod)}`,
    next: `Look with \`kubectl -n ${namespace} ${command} ${pod.metadata.name}\`.`,
  }
}

const waitingOf = ({ status }: Pod) => status?.containerStatuses?.find(({ state }) => state?.waiting)?.state?.waiting
const startedOnce = (pod: Pod) => !!pod.status?.containerStatuses?.length && !isBeforeStart(waitingOf(pod)?.reason)
const isBeforeStart = (reason = "") =>
  /^(ContainerCreating|PodInitializing|Err\w+|Image\w+|\w+ConfigError)$/.test(reason)

async function whyNotReady(ask: Ask, folder: string, pod: Pod): Promise<string> {
  const unscheduled = pod.status?.conditions?.find((one) => one.type === "PodScheduled" && one.status === "False")
  if (unscheduled?.message) return unscheduled.message
  const waiting = waitingOf(pod)
  if (waiting?.message) return `${waiting.reason}: ${waiting.message}`
  // What keeps a container from being made, such as a missing Secret, is told in an Event alone.
  const fieldSelector = `involvedObject.name=${pod.metadata.name},type=Warning`
  const events = (await ask<{ items?: KubeEvent[] }>(`${folder}/events`, { fieldSelector }))?.items ?? []
  const newest = events.sort((one, other) => (timeOf(one) < timeOf(other) ? -1 : 1)).at(-1)
  return newest?.message ?? waiting?.reason ?? pod.status?.phase ?? "it does not say why"
}

interface KubeEvent {
  metadata: Metadata
  message?: string
  lastTimestamp?: string | null
}

const timeOf = ({ lastTimestamp, metadata }: KubeEvent) => lastTimestamp ?? metadata.creationTimestamp ?? ""

function unexplained(service: ApiService | undefined, refusal: KubeError): OutOfService {
  const look = `\`kubectl describe apiservice ${apiServiceName}\``
  const said = refusal.body.message ?? refusal.message
  if (/x509|certificate/.test(said)) {
    return {
      reason: `the API server does not accept its certificate: ${said}`,
      next: `Let spec.caBundle of the APIService (${look}) be the CA of that certificate (values tls).`,
    }
  }
  const available = service?.status?.conditions?.find(({ type }) => type === "Available")
  const reason = available?.status === "False" && available.message ? available.message : said
  return { reason, next: `Ask the cluster's owner to look with ${look} and at the operator's pods.` }
}
