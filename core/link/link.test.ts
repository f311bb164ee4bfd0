import { afterAll, describe, expect, test } from "bun:test"
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net"
import { Duplex } from "node:stream"
import { connect as secure } from "node:tls"
import { carriers, data, inbox, part, payload, undo } from "../../test/fakes/link-carriers.ts"
import { certificate } from "../../test/fakes/localhost-certificate.ts"
import type { Link } from "../link.ts"
import { type ClientMessage, type DaemonMessage, daemonMessage } from "../protocol/index.ts"
import { askingSide, connectLink, duplexLink, listenLinks, servingSide } from "./index.ts"

afterAll(() => {
  for (const step of undo) step()
})

describe.each(carriers)("a link over %s", (_name, open) => {
  test("carries messages of all sizes both ways, in order", async () => {
    const { client, agent } = await open()
    const sizes = [0, 1, 250, 251, 8191, 8192, 65_536, 300_000, 3]
    const atClient = inbox(client as never)
    const atAgent = inbox(agent as never)
    const sent = sizes.map((size, seed) => data(seed, size))
    for (const message of sent) agent.send(message)
    client.send({ kind: "Ping" })
    client.send({ kind: "OperatorPong", value: 5n })
    await atClient.until(sizes.length)
    await atAgent.until(2)
    expect(atClient.messages).toEqual(sent as never)
    expect(atAgent.messages).toEqual([{ kind: "Ping" }, { kind: "OperatorPong", value: 5n }] as never)
    client.close()
    expect(await agent.ended).toEqual({})
    expect(await client.ended).toEqual({})
  })

  test("carries byte streams side by side, in whatever pieces, and their ends", async () => {
    const { client, agent } = await open()
    inbox(agent as never)
    const sizes = [300_000, 5, 16_384, 1_000_000, 65_536, 0]
    const streams = new Map<bigint, Uint8Array[]>()
    const ended = Promise.withResolvers<void>()
    let ends = 0
    client.receive((message) => {
      const { connectionId, bytes } = (message as { value: { value: { connectionId: bigint; bytes: Uint8Array } } })
        .value.value
      const pieces = streams.get(connectionId) ?? []
      streams.set(connectionId, pieces)
      pieces.push(Buffer.from(bytes))
      if (bytes.length === 0 && ++ends === 2) ended.resolve()
    })
    for (const size of sizes) for (const seed of [1, 2]) agent.send(part(seed, size))
    await ended.promise
    for (const seed of [1, 2]) {
      const pieces = streams.get(BigInt(seed))!
      expect(pieces.findIndex(({ length }) => length === 0)).toBe(pieces.length - 1)
      expect(Bun.hash(Buffer.concat(pieces))).toBe(Bun.hash(Buffer.concat(sizes.map((size) => payload(size, seed)))))
    }
    client.close()
    expect(await agent.ended).toEqual({})
  })

  test.each([
    ["stops", 5],
    ["has not begun", 0],
  ])("a reader that %s while much waits loses nothing, and the sender is told to wait", async (_what, readFirst) => {
    const { client, agent } = await open()
    const count = 600
    let got = 0
    const bad: number[] = []
    let wake = () => {}
    const handler = (message: DaemonMessage) => {
      const { value } = (message as { value: { value: { value: { connectionId: bigint; bytes: Uint8Array } } } }).value
        .value
      const same = Buffer.compare(value.bytes, payload(65_536, got)) === 0
      if (!same || value.connectionId !== BigInt(got)) bad.push(got)
      got++
      if (got === readFirst) client.pause()
      wake()
    }
    if (readFirst > 0) client.receive(handler)
    let sent = 0
    let producerWaits = false
    const producing = (async () => {
      for (; sent < count; sent++) {
        if (agent.send(data(sent, 65_536))) continue
        producerWaits = true
        await agent.whenWritable()
        producerWaits = false
      }
    })()
    let before = -1
    // Until nothing moves any more: the sender waits and neither end makes progress for a while.
    while (!producerWaits || before !== sent + got) {
      before = sent + got
      await Bun.sleep(60)
    }
    expect(sent).toBeLessThan(count)
    expect(got).toBeLessThan(count)
    if (readFirst > 0) client.resume()
    else client.receive(handler)
    await producing
    while (got < count) await new Promise<void>((resolve) => (wake = resolve))
    expect(bad).toEqual([])
    agent.receive(() => {})
    client.close()
    expect(await agent.ended).toEqual({})
  })

  test("close delivers what was sent before it, also to a reader that comes late", async () => {
    const { client, agent } = await open()
    for (let seed = 0; seed < 20; seed++) agent.send(data(seed, 65_536))
    agent.send({ kind: "Close", value: "bye" })
    client.send({ kind: "Ping" })
    agent.close()
    await Bun.sleep(20)
    const late = inbox(client as never)
    await late.until(21)
    expect(late.messages.at(-1)).toEqual({ kind: "Close", value: "bye" } as never)
    expect(await client.ended).toEqual({})
    expect(await agent.ended).toEqual({})
  })

  test("close of the asking end does, too", async () => {
    const { client, agent } = await open()
    for (let seed = 0; seed < 20; seed++) client.send({ kind: "SwitchProtocolVersion", value: `1.0.${seed}` })
    agent.send({ kind: "Pong" })
    client.close()
    await Bun.sleep(20)
    const late = inbox(agent as never)
    await late.until(20)
    expect(late.messages.at(-1)).toEqual({ kind: "SwitchProtocolVersion", value: "1.0.19" } as never)
    expect(await agent.ended).toEqual({})
    expect(await client.ended).toEqual({})
  })

  test("abort ends both ends and lets a waiting sender go on", async () => {
    const { client, agent } = await open()
    while (agent.send(data(1, 65_536)));
    const waiting = agent.whenWritable()
    agent.abort(new Error("enough"))
    await waiting
    expect((await agent.ended).error?.message).toBe("enough")
    client.receive(() => {})
    await client.ended
    expect(agent.send({ kind: "Pong" })).toBe(true)
  })

  test("a sender that ignores back-pressure ends the link instead of filling the memory", async () => {
    const { client, agent } = await open()
    const big: DaemonMessage = { kind: "Close", value: "x".repeat(16 * 1024 * 1024) }
    for (let i = 0; i < 40; i++) agent.send(big)
    expect(((await agent.ended).error as { code?: string }).code).toBe("link-overflow")
    client.abort()
  })
})

describe("a stream that breaks the protocol", () => {
  async function rawPeer(): Promise<{ link: Link<ClientMessage, DaemonMessage>; socket: ReturnType<typeof connect> }> {
    const accepted = Promise.withResolvers<Link<ClientMessage, DaemonMessage>>()
    // Nothing here ends because somebody has waited long enough.
    const limits = { lingerMs: 600_000 }
    const listener = listenLinks(servingSide, { hostname: "127.0.0.1", port: 0 }, accepted.resolve, { limits })
    undo.push(() => listener.stop(true))
    const socket = connect((listener as { port: number }).port, "127.0.0.1")
    return { socket, link: await accepted.promise }
  }

  test("an unknown message ends the link with the decoder's error", async () => {
    const { link, socket } = await rawPeer()
    link.receive(() => {})
    socket.write(Uint8Array.of(200))
    expect(((await link.ended).error as { code?: string }).code).toBe("protocol-bad-tag")
  })

  test("an end inside a message is told apart from an end after one", async () => {
    const cut = await rawPeer()
    cut.link.receive(() => {})
    cut.socket.end(Uint8Array.of(5, 0, 10, 47))
    expect(((await cut.link.ended).error as { code?: string }).code).toBe("link-cut")
    const whole = await rawPeer()
    whole.link.receive(() => {})
    whole.socket.end(Uint8Array.of(7))
    expect(await whole.link.ended).toEqual({})
  })

  test("one that has finished writing before we close still gets all it was sent", async () => {
    const { link, socket } = await rawPeer()
    const sent = Array.from({ length: 100 }, (_, seed) => data(seed, 65_536))
    for (const message of sent) link.send(message)
    link.close()
    socket.end(Uint8Array.of(7))
    const whole: Buffer[] = []
    for await (const chunk of socket) whole.push(chunk)
    expect(Bun.hash(Buffer.concat(whole))).toBe(
      Bun.hash(Buffer.concat(sent.map((message) => daemonMessage.encode(message)))),
    )
    expect(await link.ended).toEqual({})
  })

  test("an abort is seen as one, a close is not", async () => {
    const aborted = await rawPeer()
    aborted.link.abort()
    const failure = Promise.withResolvers<Error>()
    aborted.socket.on("error", failure.resolve).resume()
    expect(await failure.promise).toMatchObject({ code: "ECONNRESET" })
    const closed = await rawPeer()
    closed.link.close()
    const end = Promise.withResolvers<void>()
    closed.socket.on("end", end.resolve).resume()
    await end.promise
    expect(await closed.link.ended).toEqual({})
  })

  test("a stream of this process that fails is a loss, one that is given up an end", async () => {
    const open = () => {
      const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
      const link = duplexLink(stream, servingSide)
      link.receive(() => {})
      return { stream, link }
    }
    const [failed, over, cut] = [open(), open(), open()]
    failed.stream.destroy(new Error("no more disk"))
    expect(await failed.link.ended).toMatchObject({
      error: { code: "link-lost", message: expect.stringContaining("no more disk") },
    })
    over.stream.destroy()
    expect(await over.link.ended).toEqual({})
    const arrived = new Promise((resolve) => cut.stream.once("data", resolve))
    cut.stream.push(Uint8Array.of(5, 0, 10, 47))
    await arrived
    cut.stream.destroy()
    expect(await cut.link.ended).toMatchObject({ error: { code: "link-cut" } })
  })
})

describe("dialling", () => {
  test("nobody there is an error with the address", async () => {
    const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
    const { port } = listener
    listener.stop(true)
    await expect(connectLink(askingSide, { hostname: "127.0.0.1", port })).rejects.toThrow(`127.0.0.1:${port}`)
    await expect(connectLink(askingSide, { unix: "/no/such.sock" })).rejects.toThrow("to /no/such.sock")
    await expect(connectLink(askingSide, { fd: 9_999 })).rejects.toThrow("descriptor 9999")
  })

  test("can be given up, before it began too, but not when the link stands", async () => {
    const greet = (link: Link<ClientMessage, DaemonMessage>) => void link.send({ kind: "Pong" })
    const listener = listenLinks(servingSide, { hostname: "127.0.0.1", port: 0 }, greet)
    undo.push(() => listener.stop(true))
    const address = { hostname: "127.0.0.1", port: (listener as { port: number }).port }
    const given = AbortSignal.abort(new Error("too late"))
    await expect(connectLink(askingSide, address, { signal: given })).rejects.toThrow("too late")
    const attempt = new AbortController()
    const link = await connectLink(askingSide, address, { signal: attempt.signal })
    attempt.abort()
    await inbox(link as never).until(1)
    link.close()
  })
})

describe("dialling as the TLS server", () => {
  /** A peer that does `act` with every stream; `gone` settles when the first one has ended. */
  async function peer(act: (socket: Socket) => void) {
    const gone = Promise.withResolvers<void>()
    const server = createTcpServer((socket) => {
      socket.on("error", () => {})
      socket.once("close", () => gone.resolve())
      socket.resume()
      act(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    undo.push(() => server.close())
    const address = { hostname: "127.0.0.1", port: (server.address() as AddressInfo).port }
    const dial = (signal?: AbortSignal) =>
      connectLink(askingSide, address, { tls: { asServer: certificate }, ...(signal && { signal }) })
    return { dial, gone: gone.promise }
  }

  test.each<[string, (socket: Socket) => void]>([
    ["speaks no TLS", (socket) => socket.write("hello there, who are you?\n")],
    ["does not trust the certificate", (socket) => secure({ socket, servername: "localhost" }).on("error", () => {})],
    ["leaves at once", (socket) => socket.destroy()],
    ["only ends its half", (socket) => socket.end()],
  ])("a peer that %s is an error, and nothing stays open", async (_what, act) => {
    const { dial, gone } = await peer(act)
    await expect(dial()).rejects.toThrow("127.0.0.1")
    await gone
  })

  test("a silent peer is left when the attempt is given up", async () => {
    const attempt = new AbortController()
    const { dial, gone } = await peer(() => attempt.abort(new Error("no answer in time")))
    await expect(dial(attempt.signal)).rejects.toThrow("no answer in time")
    await gone
  })
})
