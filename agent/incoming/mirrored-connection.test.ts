import { expect, test } from "bun:test"
import type { DaemonMessage } from "../../core/protocol/index.ts"
import type { AgentClient } from "../feature.ts"
import { ClientChannel } from "./client-channel.ts"
import { plainTransport } from "./connection.ts"
import { MirroredConnection } from "./mirrored-connection.ts"

const route = {
  source: { ip: "10.0.0.1", port: 1 },
  destination: { ip: "10.0.0.2", port: 80 },
  transport: plainTransport,
}

/** A client whose queue takes so many messages, then waits for `drain`. */
function slowClient(room: number) {
  const sent: string[] = []
  const warnings: string[] = []
  const counted = { copies: 0 }
  let left = room
  let writable = Promise.withResolvers<void>()
  const client = {
    signal: new AbortController().signal,
    supports: () => true,
    send(message: DaemonMessage) {
      if (message.kind !== "Tcp") throw new Error(message.kind)
      const { kind, value } = message.value
      sent.push(kind === "Data" ? `${value.connectionId}:${Buffer.from(value.bytes)}` : kind)
      return --left > 0
    },
    whenWritable: () => writable.promise,
    tell: (_: string, message: string) => void warnings.push(message),
  } as unknown as AgentClient
  return {
    channel: new ClientChannel(client, "Tcp", (by) => (counted.copies += by)),
    counted,
    sent,
    warnings,
    async drain(more: number) {
      left = more
      writable.resolve()
      writable = Promise.withResolvers<void>()
      await Bun.sleep(0)
    },
  }
}

test("what comes while the client's queue is full waits, in order, with the ends", async () => {
  const { channel, sent, drain, warnings, counted } = slowClient(2)
  const one = new MirroredConnection(channel, route)
  one.onData(Buffer.from("a"))
  one.onData(Buffer.from("b"))
  const two = new MirroredConnection(channel, route)
  two.onData(Buffer.from("c"))
  two.onEnd()
  two.onClose()
  one.onData(Buffer.from("d"))
  expect(sent).toEqual(["NewConnectionV2", "0:a"])
  expect(counted.copies).toBe(2)
  for (let more = 0; more < 9; more++) await drain(1)
  expect(sent.filter((text) => text.startsWith("0"))).toEqual(["0:a", "0:b", "0:d"])
  expect(sent.filter((text) => text.startsWith("1"))).toEqual(["1:c", "1:"])
  expect(sent.indexOf("NewConnectionV2", 1)).toBeLessThan(sent.indexOf("1:c"))
  expect(sent.at(-1)).toBe("Close")
  expect(counted.copies).toBe(1)
  expect(channel.waitingCopyBytes).toBe(0)
  expect(warnings).toEqual([])
})

test("more than 4 MiB for one connection end its copy, and no other's", async () => {
  const { channel, sent, drain, warnings } = slowClient(3)
  const [one, two] = [new MirroredConnection(channel, route), new MirroredConnection(channel, route)]
  one.onData(Buffer.from("a"))
  for (let count = 0; count < 100; count++) one.onData(Buffer.alloc(64 << 10))
  two.onData(Buffer.from("b"))
  expect(one.over).toBe(true)
  expect(warnings).toEqual(["a mirrored connection was dropped: the client reads too slowly"])
  await drain(100)
  expect(sent.slice(3)).toEqual(["Close", "1:b"])
  expect(channel.waitingCopyBytes).toBe(0)
})

test("any number of connections and of tiny pieces takes bounded memory, and is told once", async () => {
  const { channel, sent, warnings, counted } = slowClient(1)
  const first = new MirroredConnection(channel, route)
  for (let count = 0; count < 100_000; count++) {
    const connection = new MirroredConnection(channel, route)
    connection.onData(Buffer.from("x"))
    first.onData(Buffer.from("y"))
  }
  expect(channel.waitingCopyBytes).toBeLessThan(33 << 20)
  expect(warnings).toEqual(["a mirrored connection was dropped: the client reads too slowly"])
  expect(counted.copies).toBeGreaterThan(1000)
  expect(counted.copies).toBeLessThan(50_000)
  expect(sent.length).toBeLessThan(3)
  channel.close()
  expect(channel.waitingCopyBytes).toBe(0)
  expect(counted.copies).toBe(0)
})
