import { afterEach, expect, test } from "bun:test"
import { until } from "../../../../test/until.ts"
import { Http2Exchange } from "./http2-exchange.ts"
import { Peers } from "./peers.ts"

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

const peer = { source: { ip: "10.0.0.9", port: 1 }, destination: { ip: "10.0.0.1", port: 80 } }
const nothing = () => {}
const events = { head: nothing, body: nothing, done: nothing, tunnel: nothing, failed: nothing, drained: nothing }
const request = { method: "GET", uri: "/", version: "HTTP/2.0", headers: new Map(), hasBody: false } as const

test.each([
  ["is heard of while it goes on", false, peer],
  ["is forgotten when it is taken back before the program has accepted it", true, undefined],
])("the caller of a request %s", async (_, isTakenBack, expected) => {
  const sources: number[] = []
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void sources.push(socket.remotePort), data() {} },
  })
  ends.push(() => listener.stop(true))
  const peers = new Peers()
  const place = () => ({ ip: "127.0.0.1", port: listener.port })
  const exchange = new Http2Exchange({ place, peer, peers, request, events })
  ends.push(() => exchange.cancel())
  if (isTakenBack) exchange.cancel()
  await until(() => sources.length > 0)
  const source = { ip: "127.0.0.1", port: sources[0]! }
  // While the connection is being made this waits until it stands.
  await peers.peerOf(source)
  await until(() => peers.peerOf(source) === expected)
  expect(peers.peerOf(source)).toBe(expected)
})
