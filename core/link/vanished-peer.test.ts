import { afterEach, expect, test } from "bun:test"
import { rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Link } from "../link.ts"
import type { ClientMessage, DaemonMessage } from "../protocol/index.ts"
import { bunSocketHandlers, type StreamAddress } from "./bun-socket.ts"
import { askingSide } from "./side.ts"

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
})

const big: ClientMessage = {
  kind: "FileRequest",
  value: { kind: "Write", value: { fd: 0n, writeBytes: Buffer.alloc(1 << 20) } },
}
/** Far more than a handful, far fewer than a socket that is always ready would give. */
const manyEvents = 100
const watchMilliseconds = 300

/*
 * A socket whose peer is gone is ready for writing for ever: whoever waits for that and writes again would never sleep.
 */
test.each([
  ["unix", "reading", "terminate"],
  ["unix", "paused", "terminate"],
  ["unix", "paused", "end"],
  ["tcp", "reading", "terminate"],
  ["tcp", "paused", "terminate"],
  ["tcp", "paused", "end"],
] as const)(
  "a peer that vanishes during a big send wakes nobody again and again (%s, %s, %s)",
  async (kind, state, way) => {
    const path = join(tmpdir(), `podside-link-${crypto.randomUUID()}.sock`)
    const accepted = Promise.withResolvers<Bun.Socket<undefined>>()
    const listener = Bun.listen<undefined>({
      ...((kind === "unix" ? { unix: path } : { hostname: "127.0.0.1", port: 0 }) as { unix: string }),
      // Takes what comes, so that there is an end of the connection and not only a reset.
      socket: { open: (socket) => accepted.resolve(socket), data() {} },
    })
    undo.push(() => {
      listener.stop(true)
      rmSync(path, { force: true })
    })
    const address: StreamAddress =
      kind === "unix" ? { unix: path } : { hostname: "127.0.0.1", port: (listener as unknown as { port: number }).port }
    const made = Promise.withResolvers<Link<DaemonMessage, ClientMessage>>()
    const handlers = bunSocketHandlers(askingSide, made.resolve)
    let events = 0
    await Bun.connect({
      ...address,
      allowHalfOpen: true,
      data: {},
      socket: {
        ...handlers,
        drain(socket: Parameters<NonNullable<typeof handlers.drain>>[0]) {
          events++
          return handlers.drain?.(socket)
        },
      },
    } as Parameters<typeof Bun.connect<object>>[0])
    const link = await made.promise
    undo.push(() => link.abort())
    link.receive(() => {})
    if (state === "paused") link.pause()
    const peer = await accepted.promise
    for (let count = 0; count < 8; count++) link.send(big)
    peer[way]()
    for (let count = 0; count < 8; count++) link.send(big)
    await Bun.sleep(watchMilliseconds)
    const before = events
    await Bun.sleep(watchMilliseconds)
    expect(events - before).toBeLessThan(manyEvents)
    if (state === "reading") await link.ended
  },
)
