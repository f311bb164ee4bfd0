import { connect, type TLSSocket } from "node:tls"
import { openKube } from "../../../core/kube/kube.ts"

/** Header lines as they go out; a name may stand twice. */
export type HeaderLine = readonly [name: string, value: string]

export interface Answer {
  status: number
  /** Names in lower case, in the order of the wire. */
  headers: readonly HeaderLine[]
  text: string
}

/** What came instead of an answer, or as one. */
export type Upgraded = { socket: TLSSocket; rest: Buffer; headers: readonly HeaderLine[] } | Answer

const answerSeconds = 60

/** HTTP/1.1 over TLS to the API server of a kubeconfig, byte by byte what a Rust client would write. */
export function apiServer(kubeconfig: string) {
  const kube = openKube({ kubeconfig })

  const send = async (method: string, path: string, headers: readonly HeaderLine[], body?: string) => {
    const { url, tls, headers: own } = await kube.access()
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port || 443), ...tls, ALPNProtocols: ["http/1.1"] })
    socket.setTimeout(answerSeconds * 1000, () => socket.destroy(new Error(`${method} ${path}: no answer`)))
    const lines: HeaderLine[] = [...Object.entries(own), ...headers, ["host", `${hostname}:${port}`]]
    if (body !== undefined) lines.push(["content-length", String(Buffer.byteLength(body))])
    socket.write(
      `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body ?? ""}`,
    )
    return socket
  }

  return {
    async request(method: string, path: string, headers: readonly HeaderLine[], body?: string): Promise<Answer> {
      const socket = await send(method, path, headers, body)
      return readAnswer(socket, await readHead(socket))
    },
    async upgrade(path: string, headers: readonly HeaderLine[]): Promise<Upgraded> {
      const socket = await send("GET", path, headers)
      const head = await readHead(socket)
      if (head.status !== 101) return readAnswer(socket, head)
      socket.setTimeout(0)
      return { socket, rest: head.rest, headers: head.headers }
    },
  }
}

interface Head {
  status: number
  headers: readonly HeaderLine[]
  rest: Buffer
}

function readHead(socket: TLSSocket): Promise<Head> {
  const { promise, resolve, reject } = Promise.withResolvers<Head>()
  let bytes = Buffer.alloc(0)
  const read = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    const end = bytes.indexOf("\r\n\r\n")
    if (end < 0) return
    socket.off("data", read)
    socket.pause()
    const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n")
    const headers = lines.map((line): HeaderLine => {
      const colon = line.indexOf(":")
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    })
    resolve({ status: Number(first.split(" ")[1]), headers, rest: bytes.subarray(end + 4) })
  }
  socket.on("data", read)
  socket.once("error", reject)
  socket.once("close", () => reject(new Error("the connection ended before the answer's head")))
  return promise
}

async function readAnswer(socket: TLSSocket, { status, headers, rest }: Head): Promise<Answer> {
  const length = value(headers, "content-length")
  const chunked = value(headers, "transfer-encoding") === "chunked"
  let bytes = rest
  const whole = () =>
    chunked ? unchunked(bytes) : length !== undefined && bytes.length >= Number(length) ? bytes : undefined
  try {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk])
      if (whole()) resolve()
    })
    socket.once("error", reject)
    socket.once("close", () => resolve())
    socket.resume()
    if (!whole()) await promise
    return { status, headers, text: (whole() ?? bytes).toString("utf8") }
  } finally {
    socket.destroy()
  }
}

/** The body without its chunks' lengths; undefined until the last one is there. */
function unchunked(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const end = bytes.indexOf("\r\n", at)
    if (end < 0) return undefined
    const length = Number.parseInt(bytes.subarray(at, end).toString("latin1"), 16)
    if (length === 0) return Buffer.concat(parts)
    parts.push(bytes.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
}

export function value(headers: readonly HeaderLine[], name: string): string | undefined {
  return headers.find(([one]) => one === name)?.[1]
}
