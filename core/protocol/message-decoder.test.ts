import { describe, expect, test } from "bun:test"
import { goldenMessages } from "../../test/cases/protocol/vectors.ts"
import type { AnyCodec } from "./codec.ts"
import {
  type ClientMessage,
  clientMessage,
  daemonMessage,
  defaultLimits,
  divideClientMessage,
  divideDaemonMessage,
  type MessageCodec,
  MessageDecoder,
} from "./index.ts"
import { MessageScanner } from "./scanner.ts"

const messages = await goldenMessages()
const sides = [
  ["client messages", clientMessage],
  ["daemon messages", daemonMessage],
] as const

/** A small repeatable generator of numbers below `limit`. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

describe.each(sides)("a stream of all golden %s", (_name, codec) => {
  const own = messages.filter((message) => message.codec === (codec as unknown))
  const stream = Buffer.concat(own.map((message) => message.bytes))

  function decoded(cut: () => number): unknown[] {
    const out: unknown[] = []
    const decoder = new MessageDecoder(codec as never)
    for (let at = 0; at < stream.length; ) {
      const size = cut()
      decoder.push(stream.subarray(at, at + size), (message) => out.push(message))
      at += size
    }
    expect(decoder.heldBytes).toBe(0)
    return out
  }

  test("reads the same in one chunk, in bytes and cut at random", () => {
    const expected = own.map((message) => message.value)
    expect(decoded(() => stream.length)).toEqual(expected)
    expect(decoded(() => 1)).toEqual(expected)
    for (let seed = 1; seed <= 5; seed++) {
      const random = randomNumbers(seed)
      expect(decoded(() => 1 + random(seed * 40))).toEqual(expected)
    }
  })
})

test("the scanner finds the end of every golden message, whole and byte by byte", () => {
  for (const { codec, bytes, name } of messages) {
    const withMore = Buffer.concat([bytes, Uint8Array.of(7, 7)])
    expect([name, new MessageScanner(codec.codec, defaultLimits).scan(withMore)]).toEqual([name, bytes.length])
    if (bytes.length > 1000) continue
    const scanner = new MessageScanner(codec.codec, defaultLimits)
    for (const [index, byte] of bytes.entries()) {
      // A message that ends in an element without bytes is seen to have ended when more is asked for.
      const end = scanner.scan(Uint8Array.of(byte))
      if (index < bytes.length - 1) expect([name, index, end]).toEqual([name, index, undefined])
      else expect([name, end]).toEqual([name, 1])
    }
  }
})

test("a payload that lies in one chunk is not copied", () => {
  const write: ClientMessage = {
    kind: "TcpOutgoing",
    value: { kind: "Write", value: { connectionId: 1n, bytes: new Uint8Array(100) } },
  }
  const chunk = new Uint8Array(clientMessage.encode(write))
  const out: ClientMessage[] = []
  new MessageDecoder(clientMessage).push(chunk, (message) => out.push(message))
  const { bytes } = (out[0] as { value: { value: { bytes: Uint8Array } } }).value.value
  expect(bytes.buffer).toBe(chunk.buffer)
  chunk[chunk.length - 1] = 9
  expect(bytes.at(-1)).toBe(9)
})

test("a long message in single bytes is looked at a few times only, and a long list stays within the limits", () => {
  const listing = daemonMessage.encode({
    kind: "GetEnvVarsResponse",
    value: { kind: "Ok", value: new Map(Array.from({ length: 30_000 }, (_, i) => [`NAME_${i}`, "v"])) },
  })
  const decoder = new MessageDecoder(daemonMessage)
  let delivered = 0
  for (const byte of listing) decoder.push(Uint8Array.of(byte), () => delivered++)
  expect(delivered).toBe(1)
})

describe("limits", () => {
  const limits = { maxMessageBytes: 1000, maxItems: 10, maxNesting: 3 }
  const push = (bytes: Uint8Array) => new MessageDecoder(clientMessage, limits).push(bytes, () => {})
  const inBytes = (bytes: Uint8Array) => {
    const decoder = new MessageDecoder(clientMessage, limits)
    for (const byte of bytes) decoder.push(Uint8Array.of(byte), () => {})
  }
  const filters = (depth: number): Uint8Array =>
    Uint8Array.from([2, 0, 2, 80, ...Array.from({ length: depth }, () => [2, 0, 1]).flat(), 3, 0])

  test.each([
    ["a payload longer than a message may be", [3, 1, 0, 251, 233, 3], "protocol-too-large"],
    ["a length of 2^64 - 1", [3, 1, 0, 253, 255, 255, 255, 255, 255, 255, 255, 255], "protocol-too-large"],
    ["more elements than allowed", [6, 11], "protocol-too-many"],
    ["filters nested too deep", [...filters(4)], "protocol-too-deep"],
  ])("%s is refused before it arrives", (_name, bytes, code) => {
    expect(() => push(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code }))
    expect(() => inBytes(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code }))
    const scan = () => new MessageScanner(clientMessage.codec, limits).scan(Uint8Array.from(bytes))
    expect(scan).toThrow(expect.objectContaining({ code }))
  })

  test.each([
    ["a payload that just fits", [3, 1, 0, 250]],
    ["as many elements as allowed", [6, 10]],
    ["filters nested as deep as allowed", [...filters(3)]],
    ["more filters than may be nested, side by side", [2, 0, 2, 80, 2, 0, 5, ...Array(5).fill([3, 0]).flat()]],
  ])("%s passes", (_name, bytes) => {
    expect(() => push(Uint8Array.from(bytes))).not.toThrow()
    expect(() => inBytes(Uint8Array.from(bytes))).not.toThrow()
  })
})

describe("the limits when nobody says others", () => {
  const u32 = (value: number) => [252, ...new Uint8Array(Uint32Array.of(value).buffer)]
  const close = (length: number) => Uint8Array.of(0, ...u32(length))
  const nested = (depth: number) =>
    Uint8Array.from([2, 0, 2, 80, ...Array.from({ length: depth }, () => [2, 0, 1]).flat(), 3, 0])

  test.each<[string, (count: number) => Uint8Array, MessageCodec<never>, number, string]>([
    ["a message of 64 MiB", (bytes) => close(bytes - 6), daemonMessage as never, 64 << 20, "protocol-too-large"],
    [
      "262 144 elements",
      (items) => Uint8Array.of(6, ...u32(items)),
      clientMessage as never,
      262_144,
      "protocol-too-many",
    ],
    ["32 levels", nested, clientMessage as never, 32, "protocol-too-deep"],
  ])("%s pass, one more does not", (_name, bytes, codec, limit, error) => {
    expect(() => codec.decodeFirst(bytes(limit))).not.toThrow()
    expect(() => codec.decodeFirst(bytes(limit + 1))).toThrow(expect.objectContaining({ code: error }))
  })
})

test("no type asks for more bytes than its smallest value has, and none in a collection is without", () => {
  const seen = new Map<AnyCodec, number>()
  const fewest = (codec: AnyCodec): number => {
    const known = seen.get(codec)
    if (known !== undefined) return known
    // A type inside itself is no smaller than the whole.
    seen.set(codec, Number.POSITIVE_INFINITY)
    const { shape } = codec
    const bytes =
      shape.type === "fixed"
        ? shape.bytes
        : shape.type === "struct"
          ? shape.fields.reduce((sum, [, field]) => sum + fewest(field), 0)
          : shape.type === "tuple"
            ? shape.items.reduce((sum, item) => sum + fewest(item), 0)
            : shape.type === "variants"
              ? 1 + Math.min(...shape.cases.map(([, one]) => fewest(one)))
              : shape.type === "nested"
                ? fewest(shape.of())
                : 1
    if (shape.type === "option" || shape.type === "repeat") fewest(shape.of)
    if (shape.type === "repeat") expect(shape.of.minBytes).toBeGreaterThan(0)
    seen.set(codec, bytes)
    return bytes
  }
  for (const [, { codec }] of sides) fewest(codec)
  expect(seen.size).toBeGreaterThan(50)
  for (const [codec, bytes] of seen) expect([codec.shape, codec.minBytes <= bytes]).toEqual([codec.shape, true])
})

describe("what is handed on as it comes", () => {
  const streams = ["TcpOutgoing Write", "TcpOutgoing Read Ok", "TcpSteal Data", "Tcp Data"]
  const kindOf = ({ kind, value }: { kind: string; value?: unknown }): string => {
    const inner = (value as { kind?: unknown } | undefined)?.kind
    return typeof inner === "string" ? `${kind} ${kindOf(value as { kind: string })}` : kind
  }

  test("are parts of byte streams, which stay the same but for their bytes, and nothing else", () => {
    const divided = new Set<string>()
    for (const { codec, value } of messages) {
      const divide = (codec as unknown) === clientMessage ? divideClientMessage : divideDaemonMessage
      const make = divide(value as never)
      const kind = kindOf(value as { kind: string })
      expect([kind, make !== undefined]).toEqual([kind, streams.includes(kind)])
      if (!make) continue
      divided.add(kind)
      const { bytes } = bytesIn(value)
      expect(make(bytes)).toEqual(value as never)
      expect(bytesIn(make(Uint8Array.of(9))).bytes).toEqual(Uint8Array.of(9))
    }
    expect([...divided].sort()).toEqual(streams.toSorted())
  })

  const bytesIn = (message: unknown): { bytes: Uint8Array } => {
    const { value } = message as { value: object }
    return "bytes" in value ? (value as { bytes: Uint8Array }) : bytesIn(value)
  }
})

const write = (connectionId: number, bytes: Uint8Array): ClientMessage => ({
  kind: "TcpOutgoing",
  value: { kind: "Write", value: { connectionId: BigInt(connectionId), bytes } },
})

describe("with large parts of byte streams handed on as they come", () => {
  const sent: ClientMessage[] = [
    write(1, Buffer.alloc(40_000, "abc")),
    { kind: "Ping" },
    write(70_000, Buffer.alloc(16 << 10, "defg")),
    write(1, new Uint8Array(0)),
    { kind: "UdpOutgoing", value: { kind: "Write", value: { connectionId: 1n, bytes: Buffer.alloc(50_000, "udp") } } },
    { kind: "TcpSteal", value: { kind: "Data", value: { connectionId: 9n, bytes: Buffer.alloc(100_000, "steal") } } },
    write(2, Buffer.from("small")),
  ]
  const stream = Buffer.concat(sent.map((message) => clientMessage.encode(message)))

  function read(cut: () => number) {
    const out: ClientMessage[] = []
    const decoder = new MessageDecoder(clientMessage, defaultLimits, divideClientMessage)
    let longest = 0
    for (let at = 0; at < stream.length; ) {
      const size = cut()
      decoder.push(stream.subarray(at, at + size), (message) => out.push(message))
      at += size
      longest = Math.max(longest, decoder.heldBytes)
    }
    expect(decoder.isBetweenMessages).toBe(true)
    return { out, longest }
  }

  /** Follows each other's pieces of one stream together again. */
  function together(messages: readonly ClientMessage[]): ClientMessage[] {
    const out: ClientMessage[] = []
    let open: { id: string; pieces: Uint8Array[]; whole(): ClientMessage } | undefined
    const close = () => {
      if (open !== undefined) out.push(open.whole())
      open = undefined
    }
    for (const message of messages) {
      const make = divideClientMessage(message)
      if (make === undefined || bytesOf(message).length === 0) {
        close()
        out.push(message)
        continue
      }
      const id = Bun.inspect(make(new Uint8Array(0)))
      if (open?.id !== id) {
        close()
        const pieces: Uint8Array[] = []
        open = { id, pieces, whole: () => make(Buffer.concat(pieces)) }
      }
      open.pieces.push(bytesOf(message))
    }
    close()
    return out
  }
  const bytesOf = (message: ClientMessage) => (message as { value: { value: { bytes: Uint8Array } } }).value.value.bytes

  test.each([1, 2, 3, 7, 4096, 16_384, 30_000, 1 << 20])(
    "nothing changes but the pieces, cut every %d bytes",
    (size) => {
      expect(Bun.deepEquals(together(read(() => size).out), sent)).toBe(true)
    },
  )

  test("nothing large is held, and datagrams stay whole", () => {
    const { out, longest } = read(() => 1000)
    expect(longest).toBeGreaterThan(49_000)
    expect(longest).toBeLessThan(60_000)
    expect(out.filter(({ kind }) => kind === "UdpOutgoing")).toHaveLength(1)
    expect(out.filter(({ kind }) => kind === "TcpOutgoing").length).toBeGreaterThan(40)
    // An empty payload would be the end of the stream.
    expect(out.filter((message) => message.kind === "TcpOutgoing" && bytesOf(message).length === 0)).toHaveLength(1)
  })

  test("the limit on a message counts for its whole", () => {
    const limits = { ...defaultLimits, maxMessageBytes: 30_000 }
    const decoder = new MessageDecoder(clientMessage, limits, divideClientMessage)
    expect(() => decoder.push(stream.subarray(0, 1000), () => {})).toThrow("limit of 30000")
  })

  test("a stream that ends inside a part that is being handed on is no whole stream", () => {
    const decoder = new MessageDecoder(clientMessage, defaultLimits, divideClientMessage)
    decoder.push(stream.subarray(0, 20_000), () => {})
    expect([decoder.heldBytes, decoder.isBetweenMessages]).toEqual([0, false])
  })
})
