import { afterAll, describe, expect, test } from "bun:test"
import { Duplex } from "node:stream"
import { carriers, data, inbox, undo } from "../../test/fakes/link-carriers.ts"
import { until } from "../../test/until.ts"
import type { Link } from "../link.ts"
import { type ClientMessage, type DaemonMessage, daemonMessage } from "../protocol/index.ts"
import { StreamLink, servedWebSocketLink, webSocketLink } from "./index.ts"
import { type LinkLimits, servingSide } from "./side.ts"

/* What remains when one end is slow, silent, rude or done. */

afterAll(() => {
  for (const step of undo) step()
})

const settle = () => Bun.sleep(30)

describe.each(carriers)("a link over %s", (_name, open) => {
  test("stops reading once for every pause, and what is not paused cannot be resumed", async () => {
    const { client, agent } = await open()
    const heard = inbox(client as never)
    client.resume()
    client.pause()
    client.pause()
    agent.send({ kind: "Pong" })
    client.resume()
    await settle()
    expect(heard.messages).toEqual([])
    client.resume()
    await heard.until(1)
    client.abort()
  })

  test("tells nobody of what comes after it was closed", async () => {
    const { client, agent } = await open()
    const heard = inbox(client as never)
    agent.send({ kind: "Pong" })
    await heard.until(1)
    agent.send({ kind: "Pong" })
    client.close()
    client.close()
    expect(client.send({ kind: "Ping" })).toBe(true)
    agent.receive(() => {})
    await client.ended
    expect(heard.messages).toHaveLength(1)
    expect(await agent.ended).toEqual({})
  })

  test("gives a reader that pauses in the middle the rest before the end, whichever side it is on", async () => {
    const { client, agent } = await open()
    let heard = 0
    const readsOne = (link: { receive(handler: () => void): void; pause(): void }) =>
      link.receive(() => {
        heard++
        link.pause()
      })
    for (const [reader, send] of [
      [client, () => agent.send({ kind: "Pong" })],
      [agent, () => client.send({ kind: "Ping" })],
    ] as const) {
      heard = 0
      readsOne(reader)
      for (let count = 0; count < 3; count++) send()
      if (reader === agent) client.close()
      // What was decoded together may come together.
      for (let resumed = 0; heard < 3 || resumed < 3; resumed++) {
        await settle()
        reader.resume()
      }
    }
    expect(await agent.ended).toEqual({})
  })

  test("can be closed without reading what the other end left behind", async () => {
    const { client, agent } = await open()
    client.receive(() => client.pause())
    for (let count = 0; count < 3; count++) agent.send({ kind: "Pong" })
    agent.close()
    await settle()
    client.close()
    expect(await client.ended).toEqual({})
    expect(await agent.ended).toEqual({})
  })

  test("waits no longer than it may for a peer that does not end", async () => {
    const { client, agent } = await open({ lingerMs: 60 })
    const from = performance.now()
    agent.send({ kind: "Pong" })
    agent.close()
    expect(await agent.ended).toEqual({})
    expect(performance.now() - from).toBeGreaterThanOrEqual(59)
    client.abort()
  })

  test("counts what it sends", async () => {
    const { client, agent } = await open()
    if (agent.sentBytes === undefined) return
    const messages = [data(1, 70_000), { kind: "Pong" } as const]
    for (const message of messages) agent.send(message)
    expect(agent.sentBytes).toBe(messages.reduce((sum, message) => sum + daemonMessage.encode(message).length, 0))
    client.abort()
    agent.abort()
  })
})

/** A link whose peer takes nothing by itself: `take` lets it have some. */
type Slow = (limits: Partial<LinkLimits>) => { link: Link<ClientMessage, DaemonMessage>; take(): void }
const takenBytes = 64 << 10

const overCarrier: Slow = (limits) => {
  let room = 0
  const write = (chunk: Uint8Array) => {
    const taken = Math.min(room, chunk.length)
    room -= taken
    return taken
  }
  const link = new StreamLink({ write, pause() {}, resume() {}, end() {}, destroy() {} }, servingSide, limits)
  const take = () => {
    room = takenBytes
    link.drained()
  }
  return { link, take }
}

const overDuplex: Slow = (limits) => {
  let done: (() => void) | undefined
  const write = (_chunk: unknown, _encoding: unknown, callback: () => void) => void (done = callback)
  const link = servedWebSocketLink(new Duplex({ read() {}, write }), new Uint8Array(0), servingSide, limits)
  return { link, take: () => done?.() }
}

const overWebSocket =
  (tells: boolean): Slow =>
  (limits) => {
    const socket = {
      binaryType: "",
      bufferedAmount: 0,
      readyState: 1,
      send: (bytes: Uint8Array) => void (socket.bufferedAmount += bytes.length),
      ...(tells ? { ondrain: null as (() => void) | null } : {}),
      close() {},
      terminate() {},
      pause() {},
      resume() {},
      onmessage: null,
      onclose: null,
      onerror: null,
    }
    const take = () => {
      socket.bufferedAmount -= Math.min(takenBytes, socket.bufferedAmount)
      socket.ondrain?.()
    }
    return { link: webSocketLink(socket, servingSide, limits), take }
  }

describe.each<[string, Slow]>([
  ["a byte stream", overCarrier],
  ["a served WebSocket", overDuplex],
  ["a WebSocket that tells of room", overWebSocket(true)],
  ["a WebSocket that has to be asked for it", overWebSocket(false)],
])("a peer that is slow behind %s", (_name, open) => {
  test("is waited for while it takes something, however long that goes on", async () => {
    const { link, take } = open({ lingerMs: 500 })
    let isOver = false
    void link.ended.then(() => (isOver = true))
    for (let seed = 0; seed < 32; seed++) link.send(data(seed, takenBytes))
    link.close()
    for (let count = 0; count < 8; count++) {
      await Bun.sleep(100)
      take()
    }
    expect(isOver).toBe(false)
    expect(await link.ended).toEqual({})
  })

  test("makes whoever sends wait from the mark on, until it has taken what is above", async () => {
    const message = data(1, takenBytes)
    const { link, take } = open({ highWaterBytes: 2 * daemonMessage.encode(message).length })
    await link.whenWritable()
    expect([link.send(message), link.send(message)]).toEqual([true, false])
    let mayGoOn = false
    void link.whenWritable().then(() => (mayGoOn = true))
    await settle()
    expect(mayGoOn).toBe(false)
    take()
    await until(() => mayGoOn)
    link.abort()
  })

  test("is left when the queue is longer than it may be, and not before", async () => {
    const { link } = open({ maxQueuedBytes: 4 * takenBytes })
    for (let count = 0; count < 3; count++) link.send(data(1, takenBytes))
    await settle()
    link.send({ kind: "Pong" })
    for (let count = 0; count < 2; count++) link.send(data(1, takenBytes))
    expect(await link.ended).toMatchObject({ error: { code: "link-overflow" } })
  })
})
