import { randomInt } from "node:crypto"
import { connectOutgoing } from "../outgoing/connect.ts"
import type { Surroundings } from "../target/target.ts"
import { decodeReply, encodeQuery, type QueryType, type Reply } from "./message.ts"

const port = 53
/** Length prefix of a message over TCP. */
const prefixBytes = 2

/** Why a server gave no reply. */
export type Failure = "timeout" | "unreachable" | "bad-name"

/**
 * Asks one server for one record type, over UDP and, when the reply does not fit, over TCP; from the target's network.
 */
export async function askServer(
  server: string,
  name: string,
  type: QueryType,
  milliseconds: number,
  surroundings: Surroundings,
): Promise<Reply | Failure> {
  const query = encodeQuery(randomInt(0x10000), name, type)
  if (!query) return "bad-name"
  const reply = await exchange("UdpOutgoing", server, query, milliseconds, surroundings)
  if (typeof reply === "string" || !reply.isTruncated) return reply
  const whole = await exchange("TcpOutgoing", server, query, milliseconds, surroundings)
  // A part of the answer is better than none.
  return typeof whole === "string" ? reply : whole
}

async function exchange(
  carrier: "UdpOutgoing" | "TcpOutgoing",
  server: string,
  query: Uint8Array,
  milliseconds: number,
  surroundings: Surroundings,
): Promise<Reply | Failure> {
  const address = { kind: "Ip", value: { ip: server, port } } as const
  const connected = await connectOutgoing(carrier, address, surroundings).catch(() => undefined)
  if (!connected) return "unreachable"
  const { socket } = connected
  const { promise, resolve } = Promise.withResolvers<Reply | Failure>()
  const timer = setTimeout(() => resolve("timeout"), milliseconds)
  let stream: Uint8Array = new Uint8Array()
  socket.start({
    data(chunk) {
      stream = carrier === "UdpOutgoing" ? chunk : Buffer.concat([stream, chunk])
      const message = carrier === "UdpOutgoing" ? chunk : wholeMessage(stream)
      // What is no reply to this query is somebody's forgery or comes late; the right one may still come.
      const reply = message && decodeReply(message, query)
      if (reply) resolve(reply)
    },
    drain() {},
    end: () => resolve("unreachable"),
    refused: () => resolve("unreachable"),
    close: () => resolve("unreachable"),
  })
  socket.write(carrier === "UdpOutgoing" ? query : Buffer.concat([lengthOf(query), query]))
  const reply = await promise
  clearTimeout(timer)
  socket.close()
  return reply
}

function lengthOf(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(prefixBytes)
  prefix.writeUInt16BE(message.length)
  return prefix
}

function wholeMessage(stream: Uint8Array): Uint8Array | undefined {
  if (stream.length < prefixBytes) return undefined
  const length = (stream[0]! << 8) | stream[1]!
  return stream.length < prefixBytes + length ? undefined : stream.subarray(prefixBytes, prefixBytes + length)
}
