import { afterEach, expect, test } from "bun:test"
import type { TcpEvents, TcpSocket } from "../../core/interceptor.ts"
import { LiveConnections } from "./live-connections.ts"

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** A tracked connection; `ended` settles when it is over on the agent's side, `hearsTheEnd` when its caller is told the end. */
async function tracked(live: LiveConnections) {
  const ended = Promise.withResolvers<void>()
  const heard = Promise.withResolvers<void>()
  const accepted = Promise.withResolvers<TcpSocket>()
  const events: TcpEvents = { onData() {}, onDrain() {}, onEnd() {}, onClose: () => ended.resolve() }
  const listener = Bun.listen<TcpEvents>({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    data: events,
    socket: {
      open(socket) {
        socket.data = live.track(socket, events)
        accepted.resolve(socket)
      },
      data: (socket, bytes) => socket.data.onData(bytes),
      end() {},
      close: (socket) => socket.data.onClose(),
    },
  })
  const caller = await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    allowHalfOpen: true,
    socket: { data() {}, end: () => heard.resolve() },
  })
  undo.push(
    () => caller.terminate(),
    () => listener.stop(true),
  )
  return { socket: await accepted.promise, caller, ended: ended.promise, hearsTheEnd: heard.promise }
}

test("a caller that was told the end and stays silent is given up; one that only stays silent is not", async () => {
  let count = 0
  const live = new LiveConnections((by) => (count += by), 100)
  const [told, silent] = [await tracked(live), await tracked(live)]
  told.socket.shutdown()
  await told.ended
  expect(count).toBe(1)
  expect(silent.socket.readyState).toBe(1)
})

test("a caller that still sends after the end is listened to", async () => {
  const live = new LiveConnections(() => {}, 200)
  const { socket, caller, ended } = await tracked(live)
  socket.shutdown()
  let isOver = false
  void ended.then(() => (isOver = true))
  for (let round = 0; round < 12; round++) {
    caller.write("more")
    await Bun.sleep(50)
  }
  expect(isOver).toBe(false)
})

test("letting go ends connections that owe nothing, and leaves those on which a caller waits for an answer", async () => {
  const live = new LiveConnections(() => {}, 60_000)
  const [fresh, answered, waiting] = [await tracked(live), await tracked(live), await tracked(live)]
  for (const { caller } of [answered, waiting]) caller.write("question")
  await Bun.sleep(50)
  answered.socket.write("answer")
  live.letGo()
  await Promise.all([fresh.hearsTheEnd, answered.hearsTheEnd])
  expect(waiting.socket.readyState).toBe(1)
})
