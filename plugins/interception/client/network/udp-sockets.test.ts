import { expect, test } from "bun:test"
import { NetlinkSocket } from "../../netlink.ts"
import { UdpSockets } from "./udp-sockets.ts"

/** Of a protocol the kernel does not have. */
const noSuch = () => new NetlinkSocket(31)
const churn = `
import os, socket
while os.getppid() == ${process.pid}:
    all = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for each in all: each.bind(("127.0.0.1", 0))
    for each in all: each.close()
`

test.each([
  ["asked of the kernel", new UdpSockets()],
  ["read in its tables, where it cannot be asked", new UdpSockets(noSuch)],
])("sockets with what waits in them, as long as they are open, %s", async (_, sockets) => {
  for (const hostname of ["127.0.0.1", "::1"]) {
    const receiver = await Bun.udpSocket({ hostname, port: 0 })
    const sender = await Bun.udpSocket({ hostname, port: 0 })
    const find = (port: number) => sockets.read().find((socket) => socket.port === port)
    expect(find(sender.port)).toMatchObject({ unreadBytes: 0, inode: expect.any(Number) })
    sender.send("x", receiver.port, hostname)
    expect(find(receiver.port)!.unreadBytes).toBeGreaterThan(0)
    const { port } = receiver
    receiver.close()
    expect(find(port)).toBeUndefined()
    sender.close()
  }
  sockets.close()
})

test.if(Bun.which("python3") !== null)("no socket is missed while others come and go", async () => {
  const open = await Promise.all(Array.from({ length: 100 }, () => Bun.udpSocket({ hostname: "127.0.0.1", port: 0 })))
  const others = Bun.spawn(["python3", "-c", churn])
  const sockets = new UdpSockets()
  let missed = 0
  for (let round = 0; round < 500; round++) {
    const seen = new Set(sockets.read().map(({ port }) => port))
    missed += open.filter(({ port }) => !seen.has(port)).length
  }
  expect(missed).toBe(0)
  others.kill()
  await others.exited
  for (const socket of open) socket.close()
  sockets.close()
})
