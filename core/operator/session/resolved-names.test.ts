import { expect, test } from "bun:test"
import { lifeRecord, walkRecord } from "../../protocol/index.ts"
import { ResolvedNames } from "./resolved-names.ts"

const told = (...ips: string[]) => ({ kind: "Ok" as const, value: ips.map((ip) => ({ name: "", ip })) })
const failed = { kind: "Err" as const, value: { kind: "NotImplemented" as const } }

test("answers are told apart by their order, also when one fails or is lost with its agent", () => {
  const names = new ResolvedNames()
  for (const name of ["one", "none", "Two."]) names.asked(name)
  for (const answer of [told("10.0.0.1"), failed, told("10.0.0.1", "::1")]) names.answered(answer)
  expect([names.of("10.0.0.1"), names.of("::1"), names.of("10.0.0.2")]).toEqual([["one", "two"], ["two"], []])
  names.asked("three")
  names.lost()
  names.asked("four")
  names.answered(told("10.0.0.3"))
  names.answered(told("10.0.0.4"))
  expect([names.of("10.0.0.3"), names.of("10.0.0.4")]).toEqual([["four"], []])
})

test("a name a search list completes stands for its full name, too; what an agent tells besides is no address", () => {
  const names = new ResolvedNames()
  const full = { name: "API.shop.svc.cluster.local.", ip: "10.0.0.1" }
  const more = [lifeRecord({ code: 0, milliseconds: 5 }), walkRecord({ codes: [0], milliseconds: 5 })]
  for (const told of more) {
    names.asked("api")
    names.answered({ kind: "Ok", value: [full, told] })
  }
  expect([names.of("10.0.0.1"), names.of("0.0.0.0")]).toEqual([["api", "api.shop.svc.cluster.local"], []])
})

test("what is remembered is bounded, and what was looked up last stays", () => {
  const names = new ResolvedNames()
  const look = (name: string, ip: string) => {
    names.asked(name)
    names.answered(told(ip))
  }
  for (let i = 0; i < 100; i++) look(`name-${i}`, "10.0.0.1")
  expect(names.of("10.0.0.1")).toHaveLength(16)
  expect(names.of("10.0.0.1").at(-1)).toBe("name-99")
  for (let i = 0; i < 4_095; i++) look("many", `10.1.${i >> 8}.${i & 255}`)
  look("name-99", "10.0.0.1")
  look("last", "10.0.0.2")
  expect([names.of("10.0.0.1").length, names.of("10.1.0.0").length, names.of("10.0.0.2").length]).toEqual([16, 0, 1])
})
