import type { ServerAccess } from "./access.ts"
import { dialServer, type RawSocket } from "./dial.ts"
import { statusError, transportError } from "./errors.ts"

const maxHeadBytes = 64 << 10
const maxErrorBodyBytes = 256 << 10

export interface UpgradeOptions {
  /** Besides those of the access and `Host`; `Connection: Upgrade` is added. */
  headers: Record<string, string>
  timeoutMs: number
  signal?: AbortSignal
  /** Says in errors what was asked. */
  what: string
}

export interface Upgraded {
  /** Paused. */
  socket: RawSocket
  headers: Headers
  /** Bytes of the new protocol that came in the same packet as the answer. */
  rest: Uint8Array
}

/**
 * A connection to the API server that speaks another protocol from now on.
 * @throws KubeError when the server answers with anything but an upgrade; AppError "kube-unreachable", "kube-tls"
 */
export async function openUpgrade(access: ServerAccess, path: string, options: UpgradeOptions): Promise<Upgraded> {
  const url = new URL(access.url + path)
  const limits = [AbortSignal.timeout(options.timeoutMs), ...(options.signal ? [options.signal] : [])]
  const signal = AbortSignal.any(limits)
  let socket: RawSocket | undefined
  try {
    const head = Buffer.from(requestHead(url, access, options))
    socket = await dialServer(access, signal)
    socket.write(head)
    const { status, headers, rest, body } = await readAnswer(socket, signal)
    if (status !== 101) throw statusError(options.what, status, body, headers.get("retry-after"))
    return { socket, headers, rest }
  } catch (thrown) {
    // Whatever the server still sends would be collected for nobody.
    socket?.abort()
    if (options.signal?.aborted) throw options.signal.reason
    throw transportError(options.what, access, thrown)
  }
}

function requestHead(url: URL, access: ServerAccess, options: UpgradeOptions): string {
  const headers: Record<string, string> = {
    Host: url.host,
    Connection: "Upgrade",
    ...access.headers,
    ...options.headers,
  }
  const lines = Object.entries(headers).map(([name, value]) => {
    if (/[\r\n\0]/.test(name + value)) throw new Error(`header ${name} contains a line break`)
    return `${name}: ${value}\r\n`
  })
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join("")}\r\n`
}

/** Reads the status line and headers; of an error answer also as much of its body as matters. */
async function readAnswer(socket: RawSocket, signal: AbortSignal) {
  let received = Buffer.alloc(0)
  let wake = () => {}
  let lost: Error | undefined
  let ended = false
  socket.handlers = {
    data: (chunk) => {
      received = Buffer.concat([received, chunk])
      wake()
    },
    drain: () => {},
    closed: (error) => {
      ended = true
      lost = error
      wake()
    },
  }
  signal.addEventListener("abort", () => wake(), { once: true })
  const more = async () => {
    signal.throwIfAborted()
    if (lost) throw lost
    if (!ended) await new Promise<void>((resolve) => (wake = resolve))
  }
  let end = -1
  while ((end = received.indexOf("\r\n\r\n")) < 0) {
    if (received.length > maxHeadBytes || ended) throw lost ?? new Error("the answer is not HTTP")
    await more()
  }
  const [statusLine = "", ...lines] = received.subarray(0, end).toString("latin1").split("\r\n")
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0)
  if (status === 0) throw new Error("the answer is not HTTP")
  const headers = new Headers()
  for (const line of lines) headers.append(line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim())
  if (status === 101) {
    socket.pause()
    return { status, headers, rest: received.subarray(end + 4), body: "" }
  }
  const length = Math.min(Number(headers.get("content-length") ?? maxErrorBodyBytes), maxErrorBodyBytes)
  while (received.length < end + 4 + length && !ended && !chunkedBodyIsWhole(headers, received)) await more()
  const bytes = received.subarray(end + 4)
  const body = headers.has("transfer-encoding") ? unchunk(bytes) : bytes
  return { status, headers, rest: Buffer.alloc(0), body: body.toString("utf8") }
}

const chunkedBodyIsWhole = (headers: Headers, received: Buffer) =>
  headers.has("transfer-encoding") && received.includes("\r\n0\r\n\r\n")

function unchunk(bytes: Buffer): Buffer {
  // Sizes count bytes.
  const text = bytes.toString("latin1")
  let out = ""
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf("\r\n", at)
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    if (lineEnd < 0 || !(size > 0)) return Buffer.from(out, "latin1")
    out += text.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
  }
}
