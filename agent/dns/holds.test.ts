import { expect, test } from "bun:test"
import { decodeReply, encodeQuery, type Reply, recordType } from "./message.ts"
import { holdsSeconds } from "./resolver.ts"

const address = (ttlSeconds: number): Reply => ({
  code: 0,
  isTruncated: false,
  answers: [{ name: "api.", type: recordType.A, data: Uint8Array.of(10, 0, 0, 7), ttlSeconds }],
})
const alias = (ttlSeconds: number) => ({ name: "api.", type: recordType.CNAME, data: "web.", ttlSeconds })
const absent = (code: number, absentSeconds?: number): Reply => ({
  code,
  isTruncated: false,
  answers: [],
  ...(absentSeconds !== undefined && { absentSeconds }),
})

test.each([
  ["records that hold 30 s", address(30), 30],
  ["records that hold 0 s", address(0), 0],
  ["records behind an alias that holds less", { ...address(30), answers: [alias(4), ...address(30).answers] }, 4],
  ["no such name, for 30 s", absent(3, 30), 30],
  ["no such record, for 0 s", absent(0, 0), 0],
  ["no such name, without a word for how long", absent(3), 0],
  ["a failure", absent(2, 30), 0],
  ["a refusal", absent(5, 30), 0],
  ["a part of an answer", { ...address(30), isTruncated: true }, 0],
])("%s: that long", (_, reply, seconds) => {
  expect(holdsSeconds(reply)).toBe(seconds)
})

test("how long a name's absence holds is the lesser number of the zone's own record", () => {
  const query = encodeQuery(7, "nowhere.test.", recordType.A)!
  const header = Buffer.from(query.subarray(0, 12))
  header.writeUInt16BE(0x8183, 2)
  header.writeUInt16BE(1, 8)
  header.writeUInt16BE(0, 10)
  // Owner (a pointer to the question), SOA, IN, ttl 20 s; server and mailbox (roots), then five numbers, the last of them 5 s.
  const soa = Buffer.from([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 20, 0, 22, 0, 0, ...Buffer.alloc(16), 0, 0, 0, 5])
  const reply = decodeReply(Buffer.concat([header, query.subarray(12, -11), soa]), query)
  expect(reply).toEqual({ code: 3, isTruncated: false, answers: [], absentSeconds: 5 })
})
