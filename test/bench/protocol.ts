/* Speed of the codec on one core: `bun test/bench/protocol.ts`. */
import {
  type ClientMessage,
  clientMessage,
  type DaemonMessage,
  type Divide,
  daemonMessage,
  defaultLimits,
  divideDaemonMessage,
  type MessageCodec,
  MessageDecoder,
  Writer,
} from "../../core/protocol/index.ts"
import { goldenMessages } from "../cases/protocol/vectors.ts"

/** Runs `once` (which handles `units`) for about a second after a warm-up; units per second, the best of several tries. */
function rate(units: number, once: () => void): number {
  const until = (ms: number) => {
    const start = performance.now()
    let runs = 0
    do {
      once()
      runs++
    } while (performance.now() - start < ms)
    return (runs * units) / ((performance.now() - start) / 1000)
  }
  until(300)
  return Math.max(...Array.from({ length: 10 }, () => until(100)))
}

const data = (size: number): ClientMessage => ({
  kind: "TcpSteal",
  value: { kind: "Data", value: { connectionId: 7n, bytes: new Uint8Array(size).fill(120) } },
})

function encoded<T>(codec: MessageCodec<T>, messages: readonly T[]): Uint8Array {
  return new Uint8Array(Buffer.concat(messages.map((message) => codec.encode(message))))
}

let checksum = 0
function decodeAll<T>(codec: MessageCodec<T>, chunks: readonly Uint8Array[], divide?: Divide<T>): void {
  const decoder = new MessageDecoder(codec, defaultLimits, divide)
  for (const chunk of chunks) decoder.push(chunk, () => checksum++)
}

/** Encodes as a link does: many messages into one writer, taken together. */
function encodeAll<T>(codec: MessageCodec<T>, messages: readonly T[]): void {
  const writer = new Writer()
  for (const message of messages) codec.encodeInto(writer, message)
  checksum += writer.take().length
}

// ---- bulk

const bulk = Array.from({ length: 64 }, () => data(64 * 1024))
const bulkStream = encoded(clientMessage, bulk)
const chunks = (size: number) =>
  Array.from({ length: Math.ceil(bulkStream.length / size) }, (_, i) => bulkStream.subarray(i * size, (i + 1) * size))
const bulkBytes = 64 * 64 * 1024
const gigabytes = (perSecond: number) => `${(perSecond / 1e9).toFixed(1)} GB/s`
const both = rate(bulkBytes, () => {
  decodeAll(clientMessage, [bulkStream])
  encodeAll(clientMessage, bulk)
})
const copied = rate(bulkBytes, () => {
  decodeAll(clientMessage, chunks(100_000))
  for (const message of bulk) checksum += clientMessage.encode(message).length
})
console.log(`Data with 64 KiB, decode + encode            ${gigabytes(both)}   (wanted: 2.0)`)
console.log(`  cut every 100 000 bytes and encoded in one piece, so copied both ways: ${gigabytes(copied)}`)

// ---- small messages

function small<T>(name: string, codec: MessageCodec<T>, message: T): void {
  const messages = Array.from({ length: 10_000 }, () => message)
  const stream = encoded(codec, messages)
  const decode = rate(messages.length, () => decodeAll(codec, [stream]))
  const encode = rate(messages.length, () => encodeAll(codec, messages))
  const line = `decode ${Math.round(decode / 1000)} 000/s, encode ${Math.round(encode / 1000)} 000/s`
  console.log(`${name.padEnd(44)} ${line}   (wanted: 500 000)`)
}

small("Ping", clientMessage, { kind: "Ping" })
small<DaemonMessage>("Pong", daemonMessage, { kind: "Pong" })
small("Data with 20 bytes, client to agent", clientMessage, data(20))
small<DaemonMessage>("Data with 20 bytes, agent to client", daemonMessage, {
  kind: "TcpOutgoing",
  value: { kind: "Read", value: { kind: "Ok", value: { connectionId: 7n, bytes: new Uint8Array(20) } } },
})

// ---- a stream cut at random places

const golden = (await goldenMessages()).filter(({ codec }) => codec === (daemonMessage as unknown))
const mixed = new Uint8Array(Buffer.concat(golden.map(({ bytes }) => bytes)))
let state = 1
const random = (limit: number) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % limit

function cutAtRandom(stream: Uint8Array, average: number): Uint8Array[] {
  const out: Uint8Array[] = []
  for (let at = 0; at < stream.length; ) {
    const size = 1 + random(2 * average)
    out.push(stream.subarray(at, at + size))
    at += size
  }
  return out
}

/** How many times longer the pieces take than the whole: both in turns, so that a busy machine slows both, best of each. */
function slower<T>(
  codec: MessageCodec<T>,
  stream: Uint8Array,
  pieces: readonly Uint8Array[],
  divide: Divide<T> | undefined,
): number {
  const timed = (chunks: readonly Uint8Array[], times: number) => {
    const start = performance.now()
    for (let i = 0; i < times; i++) decodeAll(codec, chunks, divide)
    return performance.now() - start
  }
  timed([stream], 50)
  // About a millisecond at a time: short enough to be left alone by others now and then.
  const times = Math.ceil(1 / (timed([stream], 5) / 5))
  let whole = Infinity
  let cut = Infinity
  const until = performance.now() + 1000
  while (performance.now() < until) {
    whole = Math.min(whole, timed([stream], times))
    cut = Math.min(cut, timed(pieces, times))
  }
  return cut / whole
}

const short = golden.filter(({ bytes }) => bytes.length < 4096)
const shortStream = new Uint8Array(Buffer.concat(short.map(({ bytes }) => bytes)))
const smallStream = encoded(
  clientMessage,
  Array.from({ length: 4000 }, () => data(20)),
)
// A payload that is cut must be copied, one that is not is only pointed at: with large payloads the ratio tells what
// copying costs, so they are measured in the pieces a socket delivers. Five different cuts of each stream, the median.
// A link hands large parts of byte streams on in the pieces they come in, and copies none of them.
for (const [name, codec, stream, average, divide] of [
  ["Data with 20 bytes", clientMessage, smallStream, 1400],
  ["golden messages below 4 KiB", daemonMessage, shortStream, 1400],
  ["all golden messages", daemonMessage, mixed, 32 * 1024],
  ["the same as a link reads them", daemonMessage, mixed, 32 * 1024, divideDaemonMessage],
] as const) {
  const ratios = Array.from({ length: 5 }, () =>
    slower(codec as never, stream, cutAtRandom(stream, average), divide as never),
  )
  const what = `${name}, cut at random (${average} bytes on average)`
  const figures = `${ratios.sort((a, b) => a - b)[2]!.toFixed(2)}× of uncut (${ratios.map((r) => r.toFixed(2)).join(" ")})`
  console.log(`${what.padEnd(72)} ${figures}   (wanted: 1.5)`)
}
if (checksum === 0) throw new Error("nothing was done")
