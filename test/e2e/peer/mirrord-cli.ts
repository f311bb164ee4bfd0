import { randomBytes } from "node:crypto"
import * as v from "valibot"
import type { DaemonMessage } from "../../../core/protocol/index.ts"
import { type Answer, apiServer, type HeaderLine } from "./http1.ts"
import { InternalProxy } from "./internal-proxy.ts"
import { assertUpgraded, newSocketKey, ProtocolSocket, upgradeHeaders } from "./protocol-socket.ts"
import * as schemas from "./schemas.ts"
import { newUserKey, reencoded, signingRequest, userIdOf } from "./user-key.ts"

const api = "/apis/operator.metalbear.co/v1"
const json: HeaderLine = ["content-type", "application/json"]
const clientVersion = "3.250.0"
const retried = new Set([429, 503, 504])
const maxRetries = 2
const agentSelector = "app!=mirrord,!operator.metalbear.co/owner"

/** An error answer as the client takes it: the body's fields, whatever the line above says. */
export class ApiError extends Error {
  readonly status: schemas.Status
  constructor(status: schemas.Status) {
    super(`${status.code} ${status.reason}: ${status.message}`)
    this.status = status
  }
}

/** The message a user sees; `installed` false means that the client goes on without the operator. */
export class NoOperator extends Error {
  readonly installed: boolean
  constructor(installed: boolean, message: string) {
    super(message)
    this.installed = installed
  }
}

export interface Connecting {
  namespace: string
  /** Name in the URL, e.g. `deployment.web`. */
  target: string
  sessionId?: bigint
  params?: Record<string, string>
  /** What the operator is taken for to have; default: what it says. */
  features?: readonly string[]
}

export interface CliOptions {
  name?: string
  /** Credentials are requested in the form of clients before R3. */
  legacyCredentials?: boolean
}

/** The 3.250 client: its requests, in its order, and what it accepts as answers. */
export function mirrordCli(kubeconfig: string, options: CliOptions = {}) {
  const server = apiServer(kubeconfig)
  const key = newUserKey()
  /** ~/.mirrord/credentials: fingerprint of an operator to the certificate it gave. */
  const store = new Map<string, string>()
  let der: HeaderLine[] = []
  const said: HeaderLine[] = [
    ["x-mirrord-cli-version", clientVersion],
    ["x-client-name", options.name ?? "Tess Ter"],
    ["x-client-hostname", "test-desk"],
  ]

  const request = async (method: string, path: string, body?: string, more: HeaderLine[] = []): Promise<Answer> => {
    for (let attempt = 0; ; attempt++) {
      const answer = await server.request(method, path, [...said, ...der, ...more], body)
      if (!retried.has(answer.status) || attempt === maxRetries) return answer
      await Bun.sleep(500)
    }
  }
  const read = <S extends v.GenericSchema>(answer: Answer, schema: S): v.InferOutput<S> => {
    if (answer.status >= 400) throw apiError(answer)
    const parsed = v.safeParse(schema, JSON.parse(answer.text))
    if (parsed.success) return parsed.output
    const [issue] = parsed.issues
    throw new Error(`the client cannot read ${v.getDotPath(issue) ?? "the answer"}: ${issue.message}\n${answer.text}`)
  }
  const get = async <S extends v.GenericSchema>(path: string, schema: S) => read(await request("GET", path), schema)

  /** R1, and after an error R2 to tell "not installed" from "not allowed". */
  const operator = async (): Promise<schemas.OperatorObject> => {
    der = []
    try {
      const found = await get(`${api}/mirrordoperators/operator`, schemas.operator)
      const daysLeft = Date.parse(found.spec.license.expire_at) - Date.now()
      if (daysLeft < -86_400_000) throw new NoOperator(false, "the license has expired")
      if (found.spec.operator_version !== clientVersion)
        throw new Error("the client warns: it is not of the operator's version")
      return found
    } catch (thrown) {
      if (!(thrown instanceof ApiError)) throw thrown
      const listed = await request("GET", api)
      if (listed.status === 404) throw new NoOperator(false, "not installed")
      const resources = listed.status === 200 ? v.parse(schemas.resourceList, JSON.parse(listed.text)).resources : []
      const served = resources.some(({ kind, name }) => kind === "MirrordOperator" && !name.includes("/"))
      throw new NoOperator(served, thrown.message)
    }
  }

  /** R3 or R4, unless the store has a certificate for this operator. */
  const certificate = async ({ spec }: schemas.OperatorObject) => {
    const { fingerprint } = spec.license
    let pem = store.get(fingerprint)
    if (pem === undefined) {
      const csr = signingRequest(key, "test-desk")
      pem = options.legacyCredentials
        ? read(
            await request("POST", `${api}/mirrordoperators/operator/certificate?`, csr, [json]),
            schemas.certificateText,
          )
        : await credential(csr, "regular")
      store.set(fingerprint, pem)
    }
    der = [["x-client-der", reencoded(pem)]]
  }
  const credential = async (csr: string, kind: "regular" | "ci") => {
    const body = {
      apiVersion: "operator.metalbear.co/v1",
      kind: "MirrordClusterOperatorUserCredential",
      metadata: { generateName: `mirrord-operator-${kind}-cred-` },
      spec: { csr, kind },
    }
    const path = `${api}/mirrordclusteroperatorusercredentials?`
    const made = read(await request("POST", path, JSON.stringify(body), [json]), schemas.credential)
    if (made.spec.csr !== csr || made.spec.kind !== kind) throw new Error("the credential's spec was changed")
    return made.status.certificate
  }

  const connect = async (to: Connecting): Promise<ProtocolSocket> => {
    const has = (feature: string) => to.features?.includes(feature) ?? true
    const query = new URLSearchParams({
      connect: "true",
      on_concurrent_steal: "abort",
      branch_name: "main",
      key: "tess",
      ...to.params,
    })
    const inHeader = has("ConnectParamsInHeader")
    const path = `${api}${has("ProxyApi") ? "/proxy" : ""}/namespaces/${to.namespace}/targets/${to.target}`
    const moved: HeaderLine[] = inHeader
      ? [["x-mirrord-connect-params", Buffer.from(query.toString()).toString("base64")]]
      : []
    const own: HeaderLine[] = [["x-session-id", String(to.sessionId ?? newSessionId())], ...moved]
    return upgrade(`${path}?${inHeader ? "connect=true" : query}`, [...said, ...der, ...own])
  }
  const upgrade = async (path: string, headers: readonly HeaderLine[]) => {
    for (let attempt = 0; ; attempt++) {
      const socketKey = newSocketKey()
      const answer = await server.upgrade(path, [...upgradeHeaders(socketKey), ...headers])
      if ("socket" in answer) {
        assertUpgraded(answer.headers, socketKey)
        return new ProtocolSocket(answer.socket, answer.rest)
      }
      if (!retried.has(answer.status) || attempt === maxRetries) throw apiError(answer)
      await Bun.sleep(500)
    }
  }

  const del = async (path: string, body?: string) => {
    const answer = await request("DELETE", path, body, [json])
    const { kind } = JSON.parse(answer.text)
    if (answer.status >= 400) throw apiError(answer)
    if (kind !== "Status") throw new Error(`deleting was answered with a ${kind}`)
    return read(answer, schemas.status)
  }
  const prepared = async () => {
    const found = await operator()
    await certificate(found)
    return found
  }

  return {
    userId: userIdOf(key),
    operator,
    prepared,
    connect,
    credential: (kind: "regular" | "ci") =>
      credential(signingRequest(key, kind === "ci" ? "mirrord-ci@Example Org" : "test-desk"), kind),
    get,
    request,

    /** Steps 1 to 14 for a Deployment. */
    async exec({ namespace, deployment, ...rest }: { namespace: string; deployment: string } & Partial<Connecting>) {
      const { spec } = await prepared()
      const features = spec.supported_features ?? []
      const native = `/apis/apps/v1/namespaces/${namespace}/deployments/${deployment}`
      const { metadata } = await get(native, schemas.workload)
      const again = await get(native, schemas.workload)
      const labels = new URLSearchParams({
        labelSelector: Object.entries(again.spec.selector.matchLabels)
          .map((pair) => pair.join("="))
          .join(","),
      })
      await get(`/api/v1/namespaces/${namespace}/pods?${labels}`, schemas.objects)
      const to = {
        sessionId: newSessionId(),
        features,
        ...rest,
        namespace: metadata.namespace,
        target: `deployment.${deployment}`,
      }
      const first = await connect(to)
      await get("/version", schemas.serverVersion)
      const { version, environment } = await firstSocket(first)
      const proxy = new InternalProxy(await connect(to))
      const agreed = await proxy.start()
      first.drop()
      return { to, version, agreed, environment, proxy }
    },

    /** Opens the next socket of a session that has lost its last one. */
    async reconnect(to: Connecting, version: string) {
      const proxy = new InternalProxy(await connect(to))
      return { proxy, agreed: await proxy.resume(version) }
    },

    /** The external proxy of `mirrord container` and its first internal proxy, relayed: no version before the environment. */
    async container(to: Connecting) {
      await prepared()
      const sessionId = newSessionId()
      const first = await connect({ ...to, sessionId })
      const environment = await fetchEnvironment(first)
      const external = new InternalProxy(await connect({ ...to, sessionId }))
      await external.ping()
      await external.ping()
      const inner = new InternalProxy(await connect({ ...to, sessionId }))
      await inner.ping()
      first.drop()
      await inner.start()
      return { environment, external, inner }
    },

    /** `mirrord ls`: nothing of the operator's own but its certificate; everything else as the user. */
    async ls(namespace: string): Promise<string[]> {
      await prepared()
      const listed: string[] = []
      const query = new URLSearchParams({ limit: "500", labelSelector: agentSelector })
      for (const [kind, path] of [
        ["deployment", "/apis/apps/v1"],
        ["statefulset", "/apis/apps/v1"],
        ["service", "/api/v1"],
        ["pod", "/api/v1"],
      ] as const) {
        const { items } = await get(`${path}/namespaces/${namespace}/${kind}s?&${query}`, schemas.objects)
        listed.push(...items.map(({ metadata }) => `${kind}/${metadata.name}`))
      }
      return listed
    },

    /** The list older clients ask for. */
    targets: async (namespace: string) => (await get(`${api}/namespaces/${namespace}/targets`, schemas.targets)).items,

    async operatorStatus() {
      const found = await operator()
      if (!found.status) throw new Error("the operator shows no status")
      return { ...found.spec, ...found.status }
    },

    async sessions({ namespace, key: sessionKey }: { namespace?: string; key?: string } = {}) {
      await operator()
      const where = namespace === undefined ? "" : `/namespaces/${namespace}`
      const escaped = sessionKey?.replace(/[\\,=]/g, "\\$&")
      const query =
        escaped === undefined ? "" : `&${new URLSearchParams({ fieldSelector: `spec.session.key=${escaped}` })}`
      const { items } = await get(`${api}${where}/sessions?${query}`, schemas.sessions)
      return items.map(({ spec }) => spec.session)
    },

    /** `mirrord session stop ID`: the id as the list shows it. */
    async stopSession(id: string) {
      await prepared()
      return del(`${api}/sessions/${id}?`, "{}")
    },
    /** `mirrord operator session stop --id HEX`: in decimal. */
    async operatorStopSession(hex: string) {
      await prepared()
      return del(`${api}/sessions/${BigInt(`0x${hex}`)}?`, "{}")
    },
    async retainActive() {
      await prepared()
      return del(`${api}/sessions/inactive?`, "{}")
    },
    async stopAll() {
      await prepared()
      return del(`${api}/sessions?`)
    },

    /** `diagnose latency`: milliseconds of each ping after the first. The certificate goes twice, as the real one does it. */
    async diagnoseLatency(pings: number): Promise<number[]> {
      await prepared()
      const socket = await upgrade(`${api}/mirrordoperators/operator/ping`, [...said, ...der, ...der])
      const times: number[] = []
      for (let i = 0; i <= pings; i++) {
        const start = performance.now()
        socket.send({ kind: "Ping" })
        const answer = await socket.next()
        if (!("kind" in answer) || answer.kind !== "Pong")
          throw new Error(`a ping was answered by ${JSON.stringify(answer)}`)
        times.push(performance.now() - start)
      }
      socket.close()
      return times.slice(1)
    },
  }
}

export const newSessionId = (): bigint => randomBytes(8).readBigUInt64BE()

/** Socket 1 of `exec`: the very next message must be the awaited one, but for logs while the environment is awaited. */
async function firstSocket(socket: ProtocolSocket) {
  socket.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
  const answer = await socket.next()
  if (!("kind" in answer) || answer.kind !== "SwitchProtocolVersionResponse") {
    throw new Error(`the first message was ${JSON.stringify(answer)}`)
  }
  return { version: answer.value, environment: await fetchEnvironment(socket) }
}

async function fetchEnvironment(socket: ProtocolSocket): Promise<ReadonlyMap<string, string>> {
  const until = Date.now() + 30_000
  for (;;) {
    socket.send({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["*"] } })
    let answer: DaemonMessage | { ended: string }
    do answer = await socket.next(until - Date.now())
    while ("kind" in answer && answer.kind === "LogMessage")
    if (!("kind" in answer) || answer.kind !== "GetEnvVarsResponse") {
      throw new Error(`the environment was answered by ${JSON.stringify(answer)}`)
    }
    if (answer.value.kind === "Ok") return answer.value.value
    const error = answer.value.value
    if (error.kind !== "SystemFailure" || !error.value.canRetry) throw new Error(`no environment: ${error.kind}`)
    await Bun.sleep(500)
  }
}

/** The client reads the body; only where that is no JSON it makes a Status of its own. */
function apiError({ status, text }: Answer): ApiError {
  const parsed = v.safeParse(schemas.status, jsonOf(text))
  if (!parsed.success) throw new Error(`error ${status} without a complete Status: ${text}`)
  if (parsed.output.code !== status) throw new Error(`the Status says ${parsed.output.code}, the answer ${status}`)
  return new ApiError(parsed.output)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
