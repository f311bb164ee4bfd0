import { type KeyObject, randomBytes, sign } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { WebSocket } from "ws"
import { openKube } from "../../../core/kube/kube.ts"
import { askingSide, webSocketLink } from "../../../core/link/index.ts"
import type { Link } from "../../../core/link.ts"
import { bits, context, integer, nothing, oid, sequence, set, utf8 } from "../../../core/operator/credentials/der.ts"
import { newPrivateKey, spkiOf } from "../../../core/operator/credentials/keys.ts"
import { fromPem, toPem } from "../../../core/operator/credentials/pem.ts"
import type { ClientMessage, DaemonMessage } from "../../../core/protocol/index.ts"

/** A refusal before the upgrade, as the API server passed it on. */
export class Refused extends Error {
  readonly status: number
  readonly body: { message?: string; reason?: string; code?: number; kind?: string }
  readonly retryAfter: string | undefined
  constructor(response: IncomingMessage, text: string) {
    super(`${response.statusCode}: ${text}`)
    this.status = response.statusCode ?? 0
    this.body = text.startsWith("{") ? JSON.parse(text) : { message: text }
    this.retryAfter = response.headers["retry-after"]
  }
}

export interface ConnectOptions {
  namespace: string
  /** URL name, e.g. `deployment.web`. */
  target: string
  sessionId?: bigint
  params?: Record<string, string>
  /** Undefined: the client's own; empty: none. */
  certificate?: string
  headers?: Record<string, string>
  /** Default: the form with `/proxy/`. */
  plainRoute?: boolean
  paramsInHeader?: boolean
  subprotocol?: string
}

export const group = "/apis/operator.metalbear.co/v1"

/** Speaks to the operator through the API server as a mirrord client does, with its odd certificate requests. */
export function operatorClient(kubeconfig: string) {
  const kube = openKube({ kubeconfig })
  const key = newPrivateKey("ed25519")
  let certificate: string | undefined

  /** Base64 of the DER certificate, requested once. */
  const credential = async () => {
    const answer = await kube.request<{ status: { certificate: string } }>(
      "POST",
      `${group}/mirrordclusteroperatorusercredentials`,
      {
        body: {
          apiVersion: "operator.metalbear.co/v1",
          kind: "MirrordClusterOperatorUserCredential",
          metadata: { generateName: "mirrord-operator-regular-cred-" },
          spec: { csr: signingRequest(key), kind: "regular" },
        },
      },
    )
    return Buffer.from(fromPem(answer.status.certificate, "CERTIFICATE")).toString("base64")
  }

  const openSocket = async (path: string, headers: Record<string, string>, subprotocol = "v4.channel.k8s.io") => {
    const access = await kube.access()
    const socket = new WebSocket(`${access.url.replace(/^http/, "ws")}${path}`, [subprotocol], {
      headers: { ...access.headers, ...headers },
      ca: access.tls?.ca,
      cert: access.tls?.cert,
      key: access.tls?.key,
      perMessageDeflate: false,
    })
    return new Promise<WebSocket>((resolve, reject) => {
      socket.once("open", () => {
        // Whoever takes it over reads from the first message on.
        socket.pause()
        resolve(socket)
      })
      socket.once("error", reject)
      socket.once("unexpected-response", (_request, response) => {
        let text = ""
        response.on("data", (chunk) => (text += chunk))
        response.once("end", () => reject(new Refused(response, text)))
      })
    })
  }

  const connectSocket = async (options: ConnectOptions) => {
    certificate ??= options.certificate === undefined ? await credential() : undefined
    const der = options.certificate ?? certificate!
    const query = new URLSearchParams({ connect: "true", on_concurrent_steal: "abort", ...options.params }).toString()
    const proxy = options.plainRoute ? "" : "/proxy"
    const path = `${group}${proxy}/namespaces/${options.namespace}/targets/${options.target}`
    const sent: Record<string, string> = options.paramsInHeader
      ? { "x-mirrord-connect-params": Buffer.from(query).toString("base64") }
      : {}
    return openSocket(
      `${path}?${options.paramsInHeader ? "connect=true" : query}`,
      {
        "x-mirrord-cli-version": "3.250.0",
        "x-client-name": "Tess Ter",
        "x-client-hostname": "test-desk",
        "x-session-id": String(options.sessionId ?? newSessionId()),
        ...(der === "" ? {} : { "x-client-der": der }),
        ...sent,
        ...options.headers,
      },
      options.subprotocol,
    )
  }

  return {
    kube,
    signingRequest: () => signingRequest(key),
    credential,
    ping: async () => linkOf(await openSocket(`${group}/mirrordoperators/operator/ping`, {})),
    connect: async (options: ConnectOptions) => linkOf(await connectSocket(options)),
    /** For those who send what no link would. */
    connectSocket,
  }
}

/** As mirrord writes it: with an attribute list that has no elements, and the key bare. */
export function signingRequest(key: KeyObject): string {
  const info = sequence(
    integer(Uint8Array.of(0)),
    sequence(set(sequence(oid("2.5.4.3"), utf8("test-desk")))),
    sequence(sequence(oid("1.3.101.110"), nothing()), bits(spkiOf(key).subarray(-32))),
    context(0),
  )
  const signature = new Uint8Array(sign(null, info, key))
  return toPem(sequence(info, sequence(oid("1.3.101.112"), nothing()), bits(signature)), "CERTIFICATE REQUEST")
}

const linkOf = (socket: WebSocket): Link<DaemonMessage, ClientMessage> =>
  webSocketLink(socket as WebSocket & { onmessage: null }, askingSide)

export const newSessionId = (): bigint => randomBytes(8).readBigUInt64BE()

/** Reads a link message by message. */
export function reader(link: Link<DaemonMessage, ClientMessage>) {
  const queue: DaemonMessage[] = []
  let wake: (() => void) | undefined
  link.receive((message) => {
    // The operator measures its latency; a client answers at once, and no test is about the order of that.
    if (message.kind === "OperatorPing") return void link.send({ kind: "OperatorPong", value: message.value })
    queue.push(message)
    wake?.()
  })
  void link.ended.then(() => wake?.())
  return {
    async next(withinMs = 45_000): Promise<DaemonMessage> {
      const until = Date.now() + withinMs
      for (;;) {
        const message = queue.shift()
        if (message) return message
        const left = until - Date.now()
        if (left <= 0) throw new Error(`no message within ${withinMs} ms`)
        const { promise, resolve } = Promise.withResolvers<void>()
        wake = resolve
        const timer = setTimeout(resolve, left)
        await promise
        clearTimeout(timer)
      }
    },
    async nextOf<K extends DaemonMessage["kind"]>(
      kind: K,
      withinMs?: number,
    ): Promise<Extract<DaemonMessage, { kind: K }>> {
      for (;;) {
        const message = await this.next(withinMs)
        if (message.kind === kind) return message as Extract<DaemonMessage, { kind: K }>
        if (message.kind === "Close") throw new Error(`closed: ${message.value}`)
      }
    },
  }
}
