import { expect, test } from "bun:test"
import type { DnsWorld, RemoteConnection } from "../../../../core/client/engine.ts"
import { dnsDatagrams, dnsStream } from "./dns-connection.ts"

const messages = (...texts: string[]) =>
  Buffer.concat(texts.flatMap((text) => [Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text)]))

/** A resolver whose answers are the queries in capitals, once they are let go; and what comes of them. */
function open(make: (dns: DnsWorld) => RemoteConnection) {
  const held: (() => void)[] = []
  const dns = {
    async answer(query: Uint8Array) {
      const text = Buffer.from(query).toString()
      await new Promise<void>((resolve) => void held.push(resolve))
      if (text === "bad") throw new Error("no answer")
      return Buffer.from(text.toUpperCase())
    },
  } as unknown as DnsWorld
  const heard: string[] = []
  const connection = make(dns)
  connection.attach({
    onData: (data) => void heard.push(Buffer.from(data).toString("latin1")),
    onDrain: () => void heard.push("room"),
    onEnd: () => void heard.push("end"),
    onClose: () => void heard.push("closed"),
  })
  const letGo = async (count = held.length) => {
    for (const answer of held.splice(0, count)) answer()
    await new Promise(setImmediate)
  }
  return { connection, heard, held, letGo }
}

test.each([1, 2, 3, 5, 100])("queries in one stream are answered each, whatever the pieces: %d bytes", async (size) => {
  const { connection, heard, letGo } = open(dnsStream)
  const bytes = messages("one", "", "a longer one")
  for (let at = 0; at < bytes.length; at += size) expect(connection.write(bytes.subarray(at, at + size))).toBe(true)
  await letGo()
  expect(heard.join("")).toBe(messages("ONE", "", "A LONGER ONE").toString("latin1"))
})

test("a datagram is a query, its answer another; one that has none gets none", async () => {
  const { connection, heard, letGo } = open(dnsDatagrams)
  for (const query of ["one", "bad", "two"]) connection.write(Buffer.from(query))
  await letGo()
  expect(heard).toEqual(["ONE", "TWO"])
})

test("the end comes behind the answers that are owed, and nothing after a close", async () => {
  const { connection, heard, letGo } = open(dnsStream)
  connection.write(messages("one", "bad"))
  connection.end()
  expect(heard).toEqual([])
  await letGo()
  expect(heard).toEqual([messages("ONE").toString("latin1"), "end"])
  const closed = open(dnsStream)
  closed.connection.write(messages("one"))
  closed.connection.close()
  await closed.letGo()
  expect(closed.heard).toEqual([])
})

test("of many queries in one stream all are answered, though not all at once", async () => {
  const { connection, heard, held, letGo } = open(dnsStream)
  const queries = Array.from({ length: 600 }, (_, index) => `q${index}`)
  expect(connection.write(messages(...queries))).toBe(false)
  connection.end()
  expect(held).toHaveLength(256)
  while (held.length > 0) await letGo(100)
  expect(heard.filter((what) => what !== "room")).toEqual([
    ...queries.map((query) => messages(query.toUpperCase()).toString("latin1")),
    "end",
  ])
  expect(heard).toContain("room")
})
