import { expect, test } from "bun:test"
import { decodeEndpoint, encodeEndpoint, encodeUnixAddress, ipv6Bytes, ipv6Text } from "./socket-address.ts"

test.each([
  ["10.1.2.3", "10.1.2.3"],
  ["::1", "::1"],
  ["::", "::"],
  ["fd00:0:0:1:0:0:0:2", "fd00:0:0:1::2"],
  ["2001:DB8:0:0:0:0:0:A", "2001:db8::a"],
  ["1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
  ["::ffff:192.0.2.7", "192.0.2.7"],
  ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
])("%s comes back from the kernel's form as %s", (ip, text) => {
  expect(decodeEndpoint(encodeEndpoint({ ip, port: 61337 }))).toEqual({ ip: text, port: 61337 })
})

test("the bytes of an IPv6 address are in network order", () => {
  expect([...ipv6Bytes("fe80::12:3456")]).toEqual([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56])
  expect(ipv6Text(ipv6Bytes("a:b:c:d:e:f:1:2"))).toBe("a:b:c:d:e:f:1:2")
})

test.each(["", "localhost", "1.2.3", "12345::", "::1%eth0"])("%p is no IPv6 address", (text) => {
  expect(() => encodeEndpoint({ ip: text, port: 1 })).toThrow()
})

test("a unix path that is too long is refused, the longest possible one is taken", () => {
  expect(encodeUnixAddress({ path: "/".padEnd(107, "x") })).toHaveLength(110)
  expect(() => encodeUnixAddress({ path: "/".padEnd(108, "x") })).toThrow("108 are possible")
})
