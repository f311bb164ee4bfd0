import { expect, test } from "bun:test"
import { buildAnswer, buildFailure, parseQuery, recordType, responseCode } from "./message.ts"

/** A query as resolvers send it: id 0x1234, recursion desired, one question. */
function query(name: string, type: number, options: { edns?: boolean; questions?: number } = {}): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)])
  const opt = options.edns ? [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0] : []
  const head = [0x12, 0x34, 1, 0, 0, options.questions ?? 1, 0, 0, 0, 0, 0, opt.length > 0 ? 1 : 0]
  return new Uint8Array([...head, ...labels, 0, 0, type, 0, 1, ...opt])
}

test("a question is read and answered with its addresses", () => {
  const question = parseQuery(query("db.shop", recordType.A))!
  expect(question).toMatchObject({ id: 0x1234, name: "db.shop", type: recordType.A, edns: false })
  const answer = Buffer.from(buildAnswer(question, responseCode.noError, { ips: ["10.0.0.1", "10.0.0.2"] }))
  expect(answer.subarray(0, 12).toString("hex")).toBe("123481800001000200000000")
  expect(answer.subarray(-16).toString("hex")).toBe("c00c00010001000000010004" + "0a000002")
})

test("IPv6, EDNS and a name that does not exist are answered in kind", () => {
  const six = buildAnswer(parseQuery(query("db", recordType.AAAA))!, responseCode.noError, { ips: ["fd00::1"] })
  expect(Buffer.from(six.subarray(-16)).toString("hex")).toBe("fd000000000000000000000000000001")
  const none = Buffer.from(buildAnswer(parseQuery(query("db", recordType.A, { edns: true }))!, responseCode.noSuchName))
  expect(none[3]! & 0x0f).toBe(3)
  expect(none.readUInt16BE(10)).toBe(1)
  expect(none.subarray(-11).toString("hex")).toBe("0000291000000000000000")
})

test.each([
  ["nothing", new Uint8Array()],
  ["an answer", Uint8Array.of(0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1)],
  ["two questions", query("a", 1, { questions: 2 })],
  ["a name that is cut off", query("abc", 1).subarray(0, 14)],
  ["a name that points elsewhere", Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1)],
  ["a name without end", new Uint8Array([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...Array(400).fill(1)])],
])("%s is not taken for a question, and can be refused", (_, bytes) => {
  expect(parseQuery(bytes)).toBeUndefined()
  expect(buildFailure(bytes)).toHaveLength(12)
})
