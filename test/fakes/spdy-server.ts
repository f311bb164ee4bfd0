import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { kubeconfigFor } from "./kube-server.ts"

const pem = (name: string) => readFileSync(new URL(`../cases/tls/${name}`, import.meta.url), "utf8")

/** What the pod's port does with a forward once both streams stand. */
export interface FakePort {
  /** Sends frames: stream id (1 error, 3 data), payload, end of the stream. */
  send(streamId: number, payload: Uint8Array, fin?: boolean): void
  /** Sends bytes as they are. */
  raw(bytes: Uint8Array): void
}

export interface FakeSpdy {
  kubeconfig: string
  /** Request heads, and what was seen of each frame: "syn 1 fin streamtype=error port=80 …", "ping 2". */
  seen: string[]
  stop(): void
}

interface State {
  head: string
  upgraded: boolean
  bytes: Buffer
  waiting: Buffer[]
}

/**
 * An API server whose port-forwards speak SPDY/3.1; WebSockets are refused. It reads header blocks as stored zlib blocks, which real
 * servers decompress: those are met by the test on a real cluster.
 */
export function startFakeSpdy(on: {
  /** In place of the replies: SPDY that does not get through. */
  asked?(port: FakePort): void
  opened?(port: FakePort): void
  data?(bytes: Buffer, port: FakePort): void
}): FakeSpdy {
  const seen: string[] = []
  const write = (socket: Bun.Socket<State>, bytes: Buffer) => {
    const { waiting } = socket.data
    const taken = waiting.length === 0 ? Math.max(0, socket.write(bytes)) : 0
    if (taken < bytes.length) waiting.push(bytes.subarray(taken))
  }
  const portOf = (socket: Bun.Socket<State>): FakePort => ({
    send: (streamId, payload, fin = false) => write(socket, frame(streamId, fin ? 1 : 0, payload)),
    raw: (bytes) => write(socket, Buffer.from(bytes)),
  })
  const take = (socket: Bun.Socket<State>, header: Buffer, payload: Buffer) => {
    const flags = header[4]!
    if ((header[0]! & 0x80) === 0) {
      if (header.readUInt32BE(0) === 3) on.data?.(payload, portOf(socket))
      return
    }
    const type = header.readUInt16BE(2)
    if (type === 6) seen.push(`ping ${payload.readUInt32BE(0)}`)
    if (type !== 1) return
    const id = payload.readUInt32BE(0)
    seen.push(`syn ${id} ${flags === 1 ? "fin " : ""}${readBlock(payload.subarray(id === 1 ? 16 : 10))}`)
    if (on.asked) {
      on.asked(portOf(socket))
      return
    }
    const reply = Buffer.from([0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, id])
    write(socket, reply)
    if (id === 3) on.opened?.(portOf(socket))
  }
  const listener = Bun.listen<State>({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: pem("server.crt"), key: pem("server.key"), ca: pem("ca.crt"), requestCert: true },
    socket: {
      open(socket) {
        socket.data = { head: "", upgraded: false, bytes: Buffer.alloc(0), waiting: [] }
      },
      data(socket, chunk) {
        const state = socket.data
        state.bytes = Buffer.concat([state.bytes, chunk])
        if (!state.upgraded) {
          const end = state.bytes.indexOf("\r\n\r\n")
          if (end < 0) return
          const head = state.bytes.toString("latin1", 0, end)
          seen.push(head)
          if (/^upgrade: websocket/im.test(head)) {
            socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
          }
          state.bytes = state.bytes.subarray(end + 4)
          state.upgraded = true
          write(
            socket,
            Buffer.from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n"),
          )
        }
        for (;;) {
          const length = state.bytes.length < 8 ? -1 : state.bytes.readUIntBE(5, 3)
          if (length < 0 || state.bytes.length < 8 + length) return
          const header = state.bytes.subarray(0, 8)
          const payload = state.bytes.subarray(8, 8 + length)
          state.bytes = state.bytes.subarray(8 + length)
          take(socket, header, payload)
        }
      },
      drain(socket) {
        const waiting = socket.data.waiting.splice(0)
        for (const bytes of waiting) write(socket, bytes)
      },
    },
  })
  const kubeconfig = join(tmpdir(), `podside-fake-spdy-${listener.port}-${process.pid}.json`)
  writeFileSync(kubeconfig, JSON.stringify(kubeconfigFor(`https://127.0.0.1:${listener.port}`)))
  return {
    kubeconfig,
    seen,
    stop() {
      listener.stop(true)
      rmSync(kubeconfig, { force: true })
    },
  }
}

function frame(streamId: number, flags: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt32BE(streamId, 0)
  header.writeUInt32BE(flags * 2 ** 24 + payload.byteLength, 4)
  return Buffer.concat([header, payload])
}

/** A stored block of names and values, as `name=value name=value`. */
function readBlock(stored: Buffer): string {
  const block = stored.subarray(5, 5 + stored.readUInt16LE(1))
  const texts: string[] = []
  for (let at = 4; at < block.length; ) {
    const length = block.readUInt32BE(at)
    texts.push(block.toString("latin1", at + 4, at + 4 + length))
    at += 4 + length
  }
  return texts
    .map((text, i) => (i % 2 === 0 ? `${text}=` : `${text} `))
    .join("")
    .trim()
}
