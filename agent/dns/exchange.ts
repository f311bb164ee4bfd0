import { connectOutgoing } from "../outgoing/connect.ts"
import type { Surroundings } from "../target/target.ts"
import { decodeReply, type Failure, type QueryType, type Reply } from "./message.ts"
import { ServerSockets } from "./server-socket.ts"

const port = 53
/** Length prefix of a message over TCP. */
const prefixBytes = 2

/** Puts questions to name servers, over UDP and, when the reply does not fit, over TCP; from the target's network. */
export class Exchanges {
  readonly #surroundings: Surroundings
  readonly #sockets: ServerSockets

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#sockets = new ServerSockets(surroundings)
  }

  /** Asks one server for one record type. */
  async ask(server: string, name: string, type: QueryType, milliseconds: number): Promise<Reply | Failure> {
    const asked = this.#sockets.ask(server, name, type, milliseconds)
    const reply = await asked.reply
    if (asked.query === undefined || typeof reply === "string" || !reply.isTruncated) return reply
    const whole = await askByTcp(server, asked.query, milliseconds, this.#surroundings)
    // A part of the answer is better than none; none does not say that there is none.
    const hasPart = reply.answers.some((answer) => answer.type === type)
    return typeof whole === "string" && hasPart ? reply : whole
  }
}

async function askByTcp(
  server: string,
  query: Uint8Array,
  milliseconds: number,
  surroundings: Surroundings,
): Promise<Reply | Failure> {
  const address = { kind: "Ip", value: { ip: server, port } } as const
  const connected = await connectOutgoing("TcpOutgoing", address, surroundings).catch(() => undefined)
  if (!connected) return "unreachable"
  const { socket } = connected
  const { promise, resolve } = Promise.withResolvers<Reply | Failure>()
  const timer = setTimeout(() => resolve("timeout"), milliseconds)
  let stream: Uint8Array = new Uint8Array()
  socket.start({
    data(chunk) {
      stream = Buffer.concat([stream, chunk])
      const message = wholeMessage(stream)
      if (message) resolve(decodeReply(message, query) ?? "unreachable")
    },
    drain() {},
    end: () => resolve("unreachable"),
    close: () => resolve("unreachable"),
  })
  socket.write(Buffer.concat([lengthOf(query), query]))
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
