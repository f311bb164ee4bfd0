import { afterEach, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { connect } from "node:net"
import { startAgent, type TestAgent, within } from "./test-agent.ts"

let agents: TestAgent[] = []
const start = async (...args: Parameters<typeof startAgent>) => {
  const agent = await startAgent(...args)
  agents.push(agent)
  return agent
}
afterEach(async () => {
  for (const agent of agents) await agent.stop()
  agents = []
})

test("answers pings before and after it agrees on a version", async () => {
  const client = await (await start(["targetless"])).connect()
  expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
  expect(await client.ask({ kind: "SwitchProtocolVersion", value: "1.29.0" })).toEqual({
    kind: "SwitchProtocolVersionResponse",
    value: "1.29.0",
  })
  expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test.each([
  ["1.15.0", "1.15.0"],
  ["1.29.0", "1.29.0"],
  ["9.0.0", "1.29.0"],
])("agrees with a client of version %s on %s", async (theirs, agreed) => {
  const client = await (await start(["targetless"])).connect()
  expect(await client.ask({ kind: "SwitchProtocolVersion", value: theirs })).toMatchObject({ value: agreed })
})

test.each([
  [{ kind: "PauseTargetRequest", value: true } as const, "Pause isn't supported anymore."],
  [{ kind: "Vpn", value: { kind: "OpenSocket" } } as const, "VPN is not supported"],
  [{ kind: "TcpSteal", value: { kind: "PortUnsubscribe", value: 80 } } as const, "targetless"],
  [{ kind: "Tcp", value: { kind: "PortSubscribe", value: 80 } } as const, "not running"],
])("refuses %j with a reason and goes on serving", async (message, reason) => {
  const client = await (await start(["targetless"])).connect()
  expect(await client.ask(message)).toEqual({ kind: "Close", value: expect.stringContaining(reason) })
  expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test("a client that sends nonsense is dropped, the others are served on", async () => {
  const agent = await start(["targetless"])
  const client = await agent.connect()
  const hostile = connect(agent.socketPath)
  hostile.write(Buffer.from("ffffffffffffffff", "hex"))
  await within("the end of the hostile connection", new Promise((resolve) => hostile.on("close", resolve)))
  expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test.each([
  ["an absurd length of bytes", "03 01 00 fd ff ff ff ff ff ff ff 7f"],
  ["an absurd number of elements", "06 fd ff ff ff ff ff ff ff 7f"],
  ["a GiB of bytes to come", "03 01 00 fc 00 00 00 40"],
  ["a thousand million elements to come", "06 fc 00 ca 9a 3b"],
])("a message with %s costs the client its connection, not the agent its memory", async (_, hex) => {
  const agent = await start(["targetless"])
  const hostile = connect(agent.socketPath)
  hostile.write(Buffer.from(hex.replaceAll(" ", ""), "hex"))
  await within("the end of the hostile connection", new Promise((resolve) => hostile.on("close", resolve)))
  expect(await (await agent.connect()).ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test("ends with 0 when the last client is gone, and leaves no socket behind", async () => {
  const agent = await start(["targetless"], { idleSeconds: 0 })
  const [first, second] = [await agent.connect(), await agent.connect()]
  await first.ask({ kind: "Ping" })
  await second.ask({ kind: "Ping" })
  first.link.close()
  expect(await second.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
  second.send({ kind: "Close" })
  expect(await within("the exit", agent.exited)).toBe(0)
  expect(existsSync(agent.socketPath)).toBe(false)
})

test("an idle time keeps the agent for the next client", async () => {
  const agent = await start(["targetless"], { idleSeconds: 3600 })
  const first = await agent.connect()
  await first.ask({ kind: "Ping" })
  first.link.close()
  await first.link.ended
  expect(await (await agent.connect()).ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test("somebody who only knocks neither ends the agent nor counts as its first client", async () => {
  const agent = await start(["targetless"], { idleSeconds: 0 }, { firstClientSeconds: 60 })
  const knocking = connect(agent.socketPath)
  await new Promise((resolve) => knocking.on("connect", resolve))
  knocking.destroy()
  expect(await (await agent.connect()).ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
})

test("gives up with 1 when no client comes in time", async () => {
  const agent = await start(["targetless"], {}, { firstClientSeconds: 0 })
  expect(await within("the exit", agent.exited)).toBe(1)
})

test("tells its clients when the target has ended, and ends", async () => {
  const target = Bun.spawn(["sleep", "600"])
  const agent = await start(["process", "--pid", `${target.pid}`])
  const client = await agent.connect()
  await client.ask({ kind: "Ping" })
  target.kill()
  expect(await client.next()).toEqual({ kind: "Close", value: "The target container has ended" })
  expect(await within("the exit", agent.exited)).toBe(0)
})

test("a target that does not exist is an error that names it", async () => {
  await expect(startAgent(["process", "--pid", "4194304"])).rejects.toThrow("Process 4194304 does not exist")
  await expect(startAgent(["targeted", "-c", "0".repeat(64)])).rejects.toThrow("No process of container 000")
})
