import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { errno } from "../../../../core/linux/errno.ts"
import { joinNetworkNamespace, type NetworkNamespace, ownNetworkNamespace } from "../../../../core/linux/namespace.ts"
import { openSocket, pendingError, SOCK_DGRAM } from "../../../../core/linux/socket.ts"
import { AF_INET, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { endpointName } from "../kernel/socket-info.ts"
import { refuseDatagrams } from "./datagram-refusal.ts"

const ip = "127.0.0.1"
const MSG_DONTWAIT = 0x40

/** A socket of ours, and one of this process that plays the program and is connected to it. */
function pair() {
  const [ours, program] = [openSocket(AF_INET, SOCK_DGRAM), openSocket(AF_INET, SOCK_DGRAM)]
  const anyPort = encodeEndpoint({ ip, port: 0 })
  syscall("bind", ours, anyPort, anyPort.length)
  const at = endpointName("getsockname", ours)!
  const to = encodeEndpoint(at)
  syscall("connect", program, to, to.length)
  return { ours, program, port: at.port }
}

function refusesOnce(namespace: NetworkNamespace): void {
  const { ours, program, port } = namespace.run(pair)
  const name = namespace.run(() => refuseDatagrams({ tid: process.pid, fd: program }, { fd: ours, ip, port }))
  expect(name).toEqual(endpointName("getsockname", program)!)
  expect(pendingError(program)).toBe(errno.ECONNREFUSED)
  // And goes on as before.
  expect(syscall("sendto", program, Buffer.from("x"), 1, 0, null, 0)).toBe(1)
  const deadline = performance.now() + 5_000
  let count = -errno.EAGAIN
  while (count === -errno.EAGAIN && performance.now() < deadline)
    count = syscall("recvfrom", ours, Buffer.alloc(10), 10, MSG_DONTWAIT, null, null)
  expect(count).toBe(1)
  for (const fd of [ours, program]) syscall("close", fd)
}

test("a connected socket is told once that nobody takes its datagrams", () => refusesOnce(ownNetworkNamespace))

/** 250 bytes in a second: the answer to a datagram takes more than 50 ms. */
const slowly = "tc qdisc add dev lo root tbf rate 2kbit burst 100 limit 10000"
const isPossible =
  process.getuid?.() === 0 &&
  Bun.spawnSync(["unshare", "--net", "sh", "-c", slowly], { stderr: "ignore" }).exitCode === 0
if (!isPossible)
  console.warn("SKIPPED: a slow loopback needs root, tc (Debian: iproute2) and a kernel with CONFIG_NET_SCH_TBF")

describe.skipIf(!isPossible)("where the loopback is slow", () => {
  let other: Bun.Subprocess<"pipe", "pipe", "inherit">
  beforeAll(async () => {
    other = Bun.spawn(["unshare", "--net", "sh", "-c", `ip link set lo up && ${slowly} && echo ready && exec cat`], {
      stdin: "pipe",
      stdout: "pipe",
    })
    await other.stdout.getReader().read()
  })
  afterAll(() => other.kill())

  test("it is told, too", () => {
    const namespace = joinNetworkNamespace(other.pid)
    refusesOnce(namespace)
    namespace.close()
  })
})
