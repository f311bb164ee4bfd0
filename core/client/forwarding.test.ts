import { expect, test } from "bun:test"
import { until } from "../../test/until.ts"
import type { RemoteConnection } from "./engine.ts"
import { listenForward } from "./forwarding.ts"

const parts = { outgoing: {} as never, names: {} as never, warn() {} }

test("why a port cannot be listened on is said in words", () => {
  const other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const forward = { local: other.port, host: "db", remote: 5432 }
  expect(() => listenForward(forward, parts)).toThrow(
    `Cannot listen on 127.0.0.1:${other.port}: somebody else listens there`,
  )
  other.stop(true)
  listenForward(forward, parts).stop()
})

test("a connection of the target that nobody waited for is closed, one that somebody did is not", async () => {
  for (const waits of [true, false]) {
    const made = Promise.withResolvers<RemoteConnection>()
    let asked = false
    let closed = false
    let attached = false
    const outgoing = {
      connect: () => {
        asked = true
        return made.promise
      },
    }
    const port = freePort()
    const { stop } = listenForward({ local: port, host: "10.0.0.1", remote: 80 }, { ...parts, outgoing })
    const program = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } })
    await until(() => asked)
    if (!waits) program.terminate()
    await Bun.sleep(50)
    const idle = { resume() {}, pause() {}, end() {}, write: () => true }
    made.resolve({ ...idle, attach: () => void (attached = true), close: () => void (closed = true) })
    await until(() => closed || attached)
    expect([attached, closed]).toEqual([waits, !waits])
    program.terminate()
    stop()
  }
})

function freePort(): number {
  const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  taken.stop(true)
  return taken.port
}
