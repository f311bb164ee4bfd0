import { afterEach, expect, test } from "bun:test"
import type { Socket } from "bun"
import { slack } from "../../../../test/slack.ts"
import { until } from "../../../../test/until.ts"
import { Http1Pool } from "./http1-pool.ts"
import { Peers } from "./peers.ts"

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

const callers = [1, 2].map((port) => ({ source: { ip: "10.0.0.9", port }, destination: { ip: "10.0.0.1", port: 80 } }))
const [first, second] = callers as [(typeof callers)[0], (typeof callers)[0]]

/** A program that listens, and a pool of connections to it. */
function pooled(idleMs: number) {
  const open = new Set<Socket>()
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void open.add(socket), close: (socket) => void open.delete(socket), data() {} },
  })
  const peers = new Peers()
  const pool = new Http1Pool(peers, idleMs)
  ends.push(() => {
    pool.close()
    listener.stop(true)
  })
  return { open, peers, pool, to: { ip: "127.0.0.1", port: listener.port } }
}

test("the next request takes the connection of the one before, which is its caller's then", async () => {
  const { open, peers, pool, to } = pooled(60_000)
  const connection = await pool.take(to, first)
  const { localAddress } = connection.stream
  expect([connection.used, await peers.peerOf(localAddress)]).toEqual([false, first])
  pool.giveBack(connection)
  const next = await pool.take(to, second)
  expect([next === connection, next.used, await peers.peerOf(localAddress)]).toEqual([true, true, second])
  // While it is busy there is another.
  expect(await pool.take(to, first)).not.toBe(connection)
  await until(() => open.size === 2)
})

test("a connection that was idle for so long is closed; one that is busy is not, nor one that was idle for less", async () => {
  const idleMs = 200 * slack
  const { open, pool, to } = pooled(idleMs)
  const [busy, early, late] = [await pool.take(to, first), await pool.take(to, first), await pool.take(to, first)]
  pool.giveBack(busy)
  pool.giveBack(early)
  expect(await pool.take(to, second)).toBe(early)
  expect(await pool.take(to, second)).toBe(busy)
  pool.giveBack(early)
  await Bun.sleep(idleMs / 2)
  pool.giveBack(late)
  await until(() => open.size === 2)
  expect(await pool.take(to, second)).toBe(late)
  pool.giveBack(late)
  await until(() => open.size === 1)
})

test.each([
  ["that the program closes", (socket: Socket) => socket.end()],
  ["on which the program speaks unasked", (socket: Socket) => socket.write("HTTP/1.1 408 Request Timeout\r\n\r\n")],
])("an idle connection %s is not used again", async (_, spoil) => {
  const { open, peers, pool, to } = pooled(60_000)
  const connection = await pool.take(to, first)
  const { localAddress } = connection.stream
  pool.giveBack(connection)
  await until(() => open.size === 1)
  for (const socket of open) spoil(socket)
  await until(() => peers.peerOf(localAddress) === undefined)
  expect(await pool.take(to, second)).not.toBe(connection)
})

test("where connections are not to be kept each request has its own", async () => {
  const { open, pool, to } = pooled(0)
  const connection = await pool.take(to, first)
  await until(() => open.size === 1)
  pool.giveBack(connection)
  await until(() => open.size === 0)
  expect(await pool.take(to, second)).not.toBe(connection)
})
