import { beforeEach, expect, test } from "bun:test"
import type { Route } from "../../../core/interceptor.ts"
import { attribute, be32 } from "../netlink.ts"
import { Copier } from "./copier.ts"

const FIN = 1
const SYN = 2
const RST = 4
const ACK = 16
const start = 0xffff_fff0

/** What a tap heard, in words. */
let heard: string[]
let missed: string[]
let cut: number[]
let routes: Route[]
let copier: Copier
let over: boolean
let number: number
let drops: number

beforeEach(() => {
  heard = []
  missed = []
  cut = []
  routes = []
  over = false
  number = 7
  drops = 0
  copier = new Copier({
    onCopied(route) {
      routes.push(route)
      return {
        onData: (bytes) => void heard.push(bytes.toString()),
        onEnd: () => void heard.push("<end>"),
        onClose: () => void heard.push("<close>"),
        onLost: (reason) => void heard.push(`<lost: ${reason}>`),
        get over() {
          return over
        },
      }
    },
    onMissed: (reason) => void missed.push(reason),
    onCut: (port) => void cut.push(port),
  })
})

/** From a caller at 10.0.0.1, or to it with `answer`; `at`: bytes since the SYN. */
function packet(
  at: number,
  flags: number,
  text = "",
  { port = 40_000, answer = false, cut = 0 }: { port?: number; answer?: boolean; cut?: number } = {},
): Buffer {
  const bytes = Buffer.alloc(40 + text.length)
  bytes[0] = 0x45
  bytes.writeUInt16BE(bytes.length + cut, 2)
  bytes[9] = 6
  const [caller, application] = [
    [10, 0, 0, 1],
    [10, 0, 0, 2],
  ] as const
  bytes.set(answer ? [...application, ...caller] : [...caller, ...application], 12)
  bytes.writeUInt16BE(answer ? 80 : port, 20)
  bytes.writeUInt16BE(answer ? port : 80, 22)
  bytes.writeUInt32BE((start + at) >>> 0, 24)
  bytes[32] = 5 << 4
  bytes[33] = flags
  bytes.write(text, 40)
  return bytes
}

function log(...packets: Buffer[]): void {
  const messages = packets.map((content) => {
    const body = Buffer.concat([Buffer.alloc(4), attribute(12, be32(number++)), attribute(9, content)])
    const header = Buffer.alloc(16)
    header.writeUInt32LE(16 + body.length, 0)
    header.writeUInt16LE(0x400, 4)
    return Buffer.concat([header, body])
  })
  copier.read(Buffer.concat(messages))
}

const opened = [packet(0, SYN), packet(1, ACK)]
const ticks = (count: number, connected: () => Set<string> = () => new Set()) => {
  for (let tick = 0; tick < count; tick++) copier.tick(drops, connected)
}

test("a connection is told from its SYN on, in order, with both ends", () => {
  log(...opened, packet(1, ACK, "one "), packet(5, ACK, "two"), packet(8, ACK | FIN))
  expect(routes).toEqual([{ source: { ip: "10.0.0.1", port: 40_000 }, destination: { ip: "10.0.0.2", port: 80 } }])
  expect(heard).toEqual(["one ", "two", "<end>"])
  expect(copier.has(80)).toBe(true)
  log(packet(500, ACK | FIN, "", { answer: true }))
  expect(heard.slice(3)).toEqual(["<close>"])
  expect(copier.has(80)).toBe(false)
})

test("the application's end before the caller's leaves the caller's bytes coming", () => {
  log(...opened, packet(500, ACK | FIN, "", { answer: true }), packet(1, ACK, "still"), packet(6, ACK | FIN))
  expect(heard).toEqual(["still", "<end>", "<close>"])
})

test("a SYN alone, or with a wrong confirmation, is no connection; with the right one it is", () => {
  log(packet(0, SYN), packet(2 << 20, ACK, "x"), packet(0, ACK, "x"), packet(1, RST), packet(1, 0, "x"))
  expect(routes).toEqual([])
  log(packet(1, ACK, "now"))
  expect(heard).toEqual(["now"])
})

test("a connection is told whichever of its packets comes first after the SYN", () => {
  log(packet(0, SYN), packet(4, ACK, "two"), packet(1, ACK, "one"))
  expect(heard).toEqual(["one", "two"])
})

test("both ends at once, then the caller's port again: two connections", () => {
  log(...opened, packet(1, ACK, "first"), packet(6, ACK | FIN), packet(500, ACK | FIN, "", { answer: true }))
  log(packet(7, ACK), packet(501, ACK, "", { answer: true }))
  log(packet(90_000, SYN), packet(90_001, ACK, "second"), packet(90_007, ACK | FIN))
  expect(heard).toEqual(["first", "<end>", "<close>", "second", "<end>"])
})

test("SYNs with many bytes take bounded memory, and the latest is confirmed", () => {
  const early = "e".repeat(60_000)
  for (let port = 1; port <= 200; port++) log(packet(0, SYN, early, { port }))
  log(packet(1, ACK, "", { port: 1 }), packet(1, ACK, "", { port: 200 }))
  expect(heard).toEqual([early])
})

test("any number of SYNs takes bounded memory, and the latest is confirmed", () => {
  for (let port = 1; port <= 40_000; port++) log(packet(0, SYN, "", { port }))
  log(packet(1, ACK, "old", { port: 1 }), packet(1, ACK, "new", { port: 40_000 }))
  expect(heard).toEqual(["new"])
})

test("bytes with the first packet come once, whether they are sent again or not", () => {
  log(packet(0, SYN, "early"), packet(1, ACK, "early and late"))
  expect(heard).toEqual(["early", " and late"])
})

test("connections from before are nobody's business", () => {
  log(packet(100, ACK, "x"), packet(101, ACK | FIN), packet(0, SYN | ACK))
  expect(routes).toEqual([])
})

test("a SYN that comes twice makes one connection, one of its successor ends it", () => {
  log(...opened, packet(0, SYN), packet(1, ACK, "first"))
  expect(heard).toEqual(["first"])
  log(packet(1000, SYN), packet(1001, ACK, "second"))
  expect(heard).toEqual(["first", "<close>", "second"])
  expect(routes.length).toBe(2)
})

test("a reset ends it where the application stands, another one does not", () => {
  log(...opened, packet(1, ACK, "abc"), packet(2, RST), packet(900, RST))
  expect(heard).toEqual(["abc"])
  log(packet(4, RST))
  expect(heard).toEqual(["abc", "<close>"])
})

test("the application's reset ends it", () => {
  log(...opened, packet(1, RST, "", { answer: true }))
  expect(heard).toEqual(["<close>"])
})

test("what the log loses is told, and ends just the connection that misses something", () => {
  log(...opened, packet(0, SYN, "", { port: 2 }), packet(1, ACK, "", { port: 2 }), packet(1, ACK, "a"))
  number++
  log(packet(3, ACK, "c"), packet(1, ACK, "whole", { port: 2 }))
  expect(missed).toEqual(["the agent could not keep up with the traffic"])
  ticks(5)
  expect(heard).toEqual(["a", "whole", "<lost: the agent could not keep up with the traffic>"])
  log(packet(4, ACK, "d"), packet(6, ACK, "!", { port: 2 }))
  expect(heard.slice(3)).toEqual(["!"])
})

test("a gap that shows long after the loss counts as well", () => {
  log(...opened, packet(1, ACK, "a"))
  number++
  log(packet(0, SYN, "", { port: 2 }))
  ticks(30)
  log(packet(3, ACK, "c"))
  ticks(5)
  expect(heard).toEqual(["a", "<lost: the agent could not keep up with the traffic>"])
})

test("without a loss a gap lasts until the network fills it", () => {
  log(...opened, packet(2, ACK, "b"))
  ticks(50)
  log(packet(1, ACK, "a"))
  expect(heard).toEqual(["a", "b"])
  expect(missed).toEqual([])
})

test("a packet the log has only a part of ends the copy", () => {
  log(...opened, packet(1, ACK, "part", { cut: 10 }))
  expect(heard).toEqual(["part", "<lost: a packet was larger than the kernel's log takes>"])
  expect(cut).toEqual([80])
})

test("a quiet connection goes on while the kernel has it, and is over when the kernel has not", () => {
  const flow = Buffer.from([10, 0, 0, 1, 10, 0, 0, 2, 40_000 >> 8, 40_000 & 255, 0, 80]).toString("latin1")
  log(...opened)
  ticks(200, () => new Set([flow]))
  expect(heard).toEqual([])
  ticks(61)
  expect(heard).toEqual(["<close>"])
})

test("a quiet connection that ended where the log lost something is not taken for whole", () => {
  log(...opened, packet(1, ACK, "a"))
  number++
  log(packet(0, SYN, "", { port: 2 }))
  ticks(130)
  expect(heard).toEqual(["a", "<lost: the agent could not keep up with the traffic>"])
})

test("a loss that nothing came after is told, and ends what the kernel has no more", () => {
  const flow = Buffer.from([10, 0, 0, 1, 10, 0, 0, 2, 40_000 >> 8, 40_000 & 255, 0, 80]).toString("latin1")
  log(...opened, packet(1, ACK, "a"), packet(0, SYN, "", { port: 2 }), packet(1, ACK, "b", { port: 2 }))
  drops++
  ticks(1)
  expect(missed).toEqual(["the agent could not keep up with the traffic"])
  ticks(9, () => new Set([flow]))
  expect(heard).toEqual(["a", "b", "<lost: the agent could not keep up with the traffic>"])
  log(packet(2, ACK, "still"))
  expect(heard.slice(3)).toEqual(["still"])
})

test("a connection nobody looks at is not followed", () => {
  log(...opened)
  over = true
  copier.dropUnwanted()
  expect(copier.has(80)).toBe(false)
  log(packet(1, ACK, "x"))
  expect(heard).toEqual([])
})
