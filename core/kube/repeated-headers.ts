import { request as plainRequest } from "node:http"
import { Agent, type RequestOptions, request as secureRequest } from "node:https"
import type { ServerTls } from "./access.ts"

/** One request as `fetch` takes it, except that a header may have several values. */
export interface RepeatedRequest {
  method: string
  headers: Readonly<Record<string, string | readonly string[]>>
  body?: string
  signal?: AbortSignal
  tls?: ServerTls
}

/** Connections are kept: impersonated requests come in bursts. */
const agent = new Agent({ keepAlive: true, maxSockets: 32 })

/**
 * Sends each value of a header as a line of its own. `fetch` joins them by commas, and to Kubernetes the groups "a" and
 * "b" are not the group "a, b". Goes to the server directly, never through a proxy.
 */
export function sendRepeated(url: string, { method, headers, body, signal, tls }: RepeatedRequest): Promise<Response> {
  const options: RequestOptions = {
    method,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, wireForm(value)])),
    signal,
    ...(tls && {
      agent,
      ca: tls.ca,
      cert: tls.cert,
      key: tls.key,
      passphrase: tls.passphrase,
      servername: tls.serverName,
      rejectUnauthorized: tls.rejectUnauthorized,
    }),
  }
  return new Promise((resolve, reject) => {
    const request = (tls ? secureRequest : plainRequest)(url, options, (answer) => {
      const chunks: Buffer[] = []
      answer.on("data", (chunk: Buffer) => chunks.push(chunk))
      answer.on("error", reject)
      answer.once("end", () => resolve(new Response(Buffer.concat(chunks), { status: answer.statusCode ?? 500 })))
    })
    request.on("error", reject)
    request.end(body)
  })
}

/** Names beyond ASCII travel as UTF-8; the library writes one byte for each character. */
function wireForm(value: string | readonly string[]): string | string[] {
  const latin1 = (text: string) => Buffer.from(text, "utf8").toString("latin1")
  return typeof value === "string" ? latin1(value) : value.map(latin1)
}
