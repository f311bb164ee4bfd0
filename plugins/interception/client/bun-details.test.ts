import { expect, test } from "bun:test"
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs"
import { getIntOption } from "../../../core/linux/socket.ts"
import { addressOf, syscall } from "../../../core/linux/syscall.ts"

/* Undocumented behaviour of the runtime the engine rests on, one test each, so that an update shows at once. */

function socketPair(): [number, number] {
  const pair = new Int32Array(new ArrayBuffer(8))
  expect(syscall("socketpair", 1, 1, 0, pair)).toBe(0)
  return [pair[0]!, pair[1]!]
}

test("Bun.connect adopts a connected descriptor", async () => {
  const [mine, theirs] = socketPair()
  const got = Promise.withResolvers<string>()
  const socket = await Bun.connect({
    fd: mine,
    socket: { data: (_: unknown, bytes: Uint8Array) => got.resolve(Buffer.from(bytes).toString()) },
  } as unknown as Bun.TCPSocketConnectOptions)
  writeSync(theirs, "hello")
  expect(await got.promise).toBe("hello")
  socket.write("back")
  const answer = Buffer.alloc(4)
  readSync(theirs, answer)
  expect(answer.toString()).toBe("back")
  socket.end()
  closeSync(theirs)
})

test("Bun.connect calls open at once on a descriptor that still connects, and drain when it stands", async () => {
  const order: string[] = []
  const done = Promise.withResolvers<void>()
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const fd = syscall("socket", 2, 1 | 0o4000, 0)
  const address = Buffer.from([2, 0, server.port >> 8, server.port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
  expect(syscall("connect", fd, address, 16)).toBe(-115)
  const socket = await Bun.connect({
    fd,
    socket: {
      open: () => void order.push("open"),
      drain: () => {
        order.push("drain")
        done.resolve()
      },
      data() {},
    },
  } as unknown as Bun.TCPSocketConnectOptions)
  await done.promise
  expect(order.slice(0, 2)).toEqual(["open", "drain"])
  socket.end()
  server.stop(true)
})

test("Bun.listen and Bun.connect know abstract unix names", async () => {
  const unix = `\0podside-test-${process.pid}-${Math.random()}`
  const got = Promise.withResolvers<string>()
  const server = Bun.listen({ unix, socket: { data: (_, bytes) => got.resolve(bytes.toString()) } })
  const client = await Bun.connect({ unix, socket: { data() {} } })
  client.write("hello")
  expect(await got.promise).toBe("hello")
  client.end()
  server.stop(true)
})

test("Bun.spawn passes a descriptor as number 3", async () => {
  const [mine, theirs] = socketPair()
  const child = Bun.spawn(["sh", "-c", "printf hello >&3"], { stdio: ["ignore", "ignore", "ignore", theirs] })
  closeSync(theirs)
  expect(await child.exited).toBe(0)
  const text = Buffer.alloc(5)
  readSync(mine, text)
  expect(text.toString()).toBe("hello")
  closeSync(mine)
})

test("memory of an array over a buffer of its own stays where it is", () => {
  const words = new BigUint64Array(new ArrayBuffer(16))
  const before = addressOf(words)
  Bun.gc(true)
  expect(words.buffer.byteLength).toBe(16)
  expect(addressOf(words)).toBe(before)
})

test("inotify tells the last close of a memory file opened anew", () => {
  const memory = syscall("memfd_create", Buffer.from("x\0"), 1)
  const fd = openSync(`/proc/self/fd/${memory}`, constants.O_RDONLY)
  const notify = syscall("inotify_init1", 0o4000)
  const closes = 0x8 | 0x10
  expect(syscall("inotify_add_watch", notify, Buffer.from(`/proc/self/fd/${memory}\0`), closes)).toBeGreaterThan(0)
  const copy = syscall("fcntl", fd, 0, 0)
  const event = Buffer.alloc(64)
  closeSync(fd)
  expect(syscall("read", notify, event, 64)).toBe(-11)
  closeSync(copy)
  expect(syscall("read", notify, event, 64)).toBe(16)
  for (const rest of [memory, notify]) closeSync(rest)
})

test("the 64-bit hash of a path is the same in every thread", () => {
  expect(Bun.hash.wyhash(Buffer.from("/etc/passwd"), 1n)).toBe(
    Bun.hash.wyhash(new Uint8Array(Buffer.from("/etc/passwd")), 1n),
  )
  expect(Bun.hash.wyhash("/etc/passwd", 1n)).not.toBe(Bun.hash.wyhash("/etc/passwd", 2n))
})

test("sockets Bun accepts or adopts send small pieces at once", async () => {
  const accepted = Promise.withResolvers<number>()
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => accepted.resolve(noDelayOf(socket)), data() {} },
  })
  const fd = syscall("socket", 2, 1, 0)
  const address = Buffer.from([2, 0, server.port >> 8, server.port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
  expect(syscall("connect", fd, address, 16)).toBe(0)
  const socket = await Bun.connect({ fd, socket: { data() {} } } as unknown as Bun.TCPSocketConnectOptions)
  expect([noDelayOf(socket), await accepted.promise]).toEqual([1, 1])
  socket.end()
  server.stop(true)
})

function noDelayOf(socket: unknown): number {
  const tcp = 6
  const noDelay = 1
  return getIntOption((socket as { fd: number }).fd, tcp, noDelay)
}
