import { expect, test } from "bun:test"
import { openSocket, SOCK_STREAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, encodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { endpointName } from "../kernel/socket-info.ts"
import { isSocketGone } from "./socket-gone.ts"

test.each([
  ["127.0.0.1", AF_INET],
  ["::1", AF_INET6],
] as const)(
  "a socket of %s with a process, one that only ended its direction, one that was closed",
  async (ip, family) => {
    const listener = openSocket(family, SOCK_STREAM)
    const address = encodeEndpoint({ ip, port: 0 })
    syscall("bind", listener, address, address.length)
    syscall("listen", listener, 1)
    const at = endpointName("getsockname", listener)!
    const client = openSocket(family, SOCK_STREAM)
    const to = encodeEndpoint(at)
    syscall("connect", client, to, to.length)
    const own = endpointName("getsockname", client)!
    expect(isSocketGone(own, at)).toBe(false)
    syscall("shutdown", client, 1)
    expect(isSocketGone(own, at)).toBe(false)
    syscall("close", client)
    expect(isSocketGone(own, at)).toBe(true)
    expect(isSocketGone({ ip, port: 1 }, at)).toBe(true)
    syscall("close", listener)
  },
)
