import { expect, test } from "bun:test"
import { parseDnsFilter, parseOutgoingFilter } from "./address-filter.ts"

const any = { kind: "any" } as const
const name = (name: string) => ({ kind: "name", name }) as const
const network = (ip: string, prefix: number) => ({ kind: "network", ip, prefix }) as const

test.each([
  ["db.example:5432", "any", name("db.example"), 5432],
  ["tcp://a_b-c", "tcp", name("a_b-c"), 0],
  ["UDP://1.2.3.4:53", "udp", network("1.2.3.4", 32), 53],
  ["10.0.0.0/8", "any", network("10.0.0.0", 8), 0],
  ["any://[::1]:80", "any", network("::1", 128), 80],
  ["[fd00::]/8", "any", network("fd00::", 8), 0],
  [":443", "any", any, 443],
  ["tcp://", "tcp", any, 0],
  ["0.0.0.0:80", "any", any, 80],
  ["[::]:80", "any", any, 80],
  ["[0:0::0]:80", "any", any, 80],
  ["[::]/8", "any", network("::", 8), 0],
  ["x:0", "any", name("x"), 0],
] as const)("%s", (entry, protocol, address, port) => {
  expect(parseOutgoingFilter(entry)).toEqual({ protocol, address, port })
})

test.each([
  "",
  "ftp://a",
  "a:99999",
  "a:b",
  "::1",
  "name/8",
  "10.0.0.0/33",
  "[::1]/129",
  "[zz]",
  "a b",
  "1.2.3.4:80:90",
  "tcp://a/b",
])("%p is refused", (entry) => {
  expect(() => parseOutgoingFilter(entry)).toThrow(expect.objectContaining({ code: "config-bad-filter" }))
})

test("a DNS filter has no protocol", () => {
  expect(parseDnsFilter("svc.example:80").address).toEqual(name("svc.example"))
  expect(() => parseDnsFilter("tcp://svc.example")).toThrow("svc.example")
  expect(() => parseDnsFilter("")).toThrow("it is empty")
})
