import { afterEach, expect, test } from "bun:test"
import { connect, type Socket } from "node:net"
import { silentLogger } from "../core/log.ts"
import type { ClientLink } from "./client-link.ts"
import { startAgent, type TestAgent, within } from "./test-agent.ts"
import { listenUpgradable } from "./upgradable-links.ts"

const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: podside-agent\r\n\r\n"
const accepted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: podside-agent\r\n\r\n"
const refused = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
const ping = Uint8Array.of(7)
const pong = "\x07"

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

async function agentWith(settings: Parameters<typeof startAgent>[1] = {}): Promise<TestAgent> {
  const agent = await startAgent(["targetless"], settings)
  undo.push(() => agent.stop())
  return agent
}

/** A raw connection, and everything it hears. */
function dial(to: { path: string } | { port: number; host: string }) {
  const socket: Socket = connect(to)
  undo.push(() => socket.destroy())
  socket.setNoDelay(true)
  let heard = ""
  socket.on("data", (bytes: Buffer) => void (heard += bytes.toString("latin1")))
  socket.on("error", () => {})
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()))
  return {
    socket,
    heard: () => heard,
    closed: () => within("the end of the connection", closed),
    async until(text: string) {
      await within(
        JSON.stringify(text),
        untilTrue(() => heard === text),
      )
    },
  }
}

async function untilTrue(met: () => boolean): Promise<void> {
  while (!met()) await Bun.sleep(2)
}

test("behind the answer to its request a client speaks as any other does", async () => {
  const agent = await agentWith()
  const client = dial({ path: agent.socketPath })
  client.socket.write(request)
  await client.until(accepted)
  client.socket.write(ping)
  await client.until(accepted + pong)
  const plain = await agent.connect()
  expect(await plain.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test("a request in single bytes, and messages in its last packet, lose nothing", async () => {
  const agent = await agentWith()
  const slow = dial({ path: agent.socketPath })
  for (const byte of Buffer.from(request)) {
    slow.socket.write(Uint8Array.of(byte))
    await Bun.sleep(0)
  }
  slow.socket.write(ping)
  await slow.until(accepted + pong)
  const hasty = dial({ path: agent.socketPath })
  hasty.socket.write(Buffer.concat([Buffer.from(request), ping, ping]))
  await hasty.until(accepted + pong + pong)
})

test.each([
  ["another request", "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"],
  ["a request without end", `GET /${"x".repeat(20_000)}`],
  ["bytes that only begin like one", "G\r\n\r\n"],
])("%s is answered with 400 and closed, and other clients go on", async (_, bytes) => {
  const agent = await agentWith()
  const other = await agent.connect()
  await other.ask({ kind: "Ping" })
  const stranger = dial({ path: agent.socketPath })
  stranger.socket.write(bytes)
  await stranger.until(refused)
  stranger.socket.write(ping)
  stranger.socket.end()
  await stranger.closed()
  expect(stranger.heard()).toBe(refused)
  expect(await other.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test("a request that dawdles is ended; one that has been answered may be silent for longer", async () => {
  const links: ClientLink[] = []
  const take = (link: ClientLink) => {
    links.push(link)
    link.receive((message) => message.kind === "Ping" && link.send({ kind: "Pong" }))
    return undefined
  }
  const listener = listenUpgradable({ hostname: "127.0.0.1", port: 0 }, silentLogger, take, 300)
  undo.push(() => listener.stop(true))
  const at = { host: "127.0.0.1", port: (listener as { port: number }).port }
  const slow = dial(at)
  const drip = setInterval(() => slow.socket.write("G"), 20)
  undo.push(() => clearInterval(drip))
  const quick = dial(at)
  quick.socket.write(request)
  await slow.until(refused)
  clearInterval(drip)
  slow.socket.end()
  await slow.closed()
  await Bun.sleep(400)
  quick.socket.write(ping)
  await quick.until(accepted + pong)
})

test("whoever only asked, or half asked, does not keep the agent alive", async () => {
  const agent = await agentWith({ idleSeconds: 0 })
  const silent = dial({ path: agent.socketPath })
  silent.socket.write(request)
  await silent.until(accepted)
  const half = dial({ path: agent.socketPath })
  half.socket.write(request.slice(0, 20))
  const client = await agent.connect()
  await client.ask({ kind: "Ping" })
  client.link.abort()
  expect(await within("the agent's end", agent.exited)).toBe(0)
})

test("a client that asked and spoke keeps it alive when the one before leaves", async () => {
  const agent = await agentWith({ idleSeconds: 0 })
  const first = await agent.connect()
  await first.ask({ kind: "Ping" })
  const second = dial({ path: agent.socketPath })
  second.socket.write(request)
  await second.until(accepted)
  second.socket.write(ping)
  await second.until(accepted + pong)
  first.link.close()
  await first.link.ended
  await Bun.sleep(100)
  second.socket.write(ping)
  await second.until(accepted + pong + pong)
})

const moveTo = (token: string) => request.replace("\r\n\r\n", `\r\nPodside-Move: ${token}\r\n\r\n`)
const tokenOf = (count: number) => count.toString(16).padStart(32, "0")
const goodbye = (token: string) => `1.29.0+podside-move.${token}`

test("a client moves to the connection that waits for it, and to no other", async () => {
  const agent = await agentWith({ idleSeconds: 0 })
  const client = await agent.connect()
  const carriers = [dial({ path: agent.socketPath }), dial({ path: agent.socketPath })] as const
  carriers.forEach((carrier, count) => void carrier.socket.write(moveTo(tokenOf(count))))
  for (const carrier of carriers) await carrier.until(accepted)
  const told = (value: string) => ({ kind: "SwitchProtocolVersionResponse", value }) as const
  const ask = (value: string) => client.ask({ kind: "SwitchProtocolVersion", value })
  // Nobody waits for this one, so it is a version as any other.
  expect(await ask(goodbye(tokenOf(2)))).toEqual(told("1.29.0"))
  expect(await ask(goodbye(tokenOf(1)))).toEqual(told(goodbye(tokenOf(1))))
  carriers[1].socket.write(ping)
  await carriers[1].until(accepted + pong)
  client.link.close()
  await client.link.ended
  await Bun.sleep(50)
  carriers[1].socket.write(ping)
  await carriers[1].until(accepted + pong + pong)
  expect(carriers[0].heard()).toBe(accepted)
  // The client is gone when its new connection is.
  carriers[1].socket.end()
  expect(await within("the agent's end", agent.exited)).toBe(0)
})

test("connections that wait for a client are bounded, each for one client, and one that left is forgotten", async () => {
  const agent = await agentWith()
  const carriers = Array.from({ length: 64 }, () => dial({ path: agent.socketPath }))
  carriers.forEach((carrier, count) => void carrier.socket.write(moveTo(tokenOf(count))))
  for (const carrier of carriers) await carrier.until(accepted)
  const ask = (token: string) => {
    const carrier = dial({ path: agent.socketPath })
    carrier.socket.write(moveTo(token))
    return carrier
  }
  await ask(tokenOf(64)).until(refused)
  carriers[7]!.socket.destroy()
  await Bun.sleep(50)
  await ask(tokenOf(3)).until(refused)
  await ask(tokenOf(64)).until(accepted)
  const other = await agent.connect()
  expect(await other.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})
