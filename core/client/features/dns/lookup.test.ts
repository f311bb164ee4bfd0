import { afterEach, expect, test } from "bun:test"
import { until } from "../../../../test/until.ts"
import { linkPair } from "../../../link/index.ts"
import { silentLogger } from "../../../log.ts"
import { type LookupRecord, lifeProtocol, lifeRecord, type ResponseError } from "../../../protocol/index.ts"
import type { AgentConnection } from "../../agent-session.ts"
import { Conversation } from "../../conversation.ts"
import { KnownNames } from "./known-names.ts"
import { createNames } from "./lookup.ts"
import { createDnsWorld } from "./world.ts"

type ResolveErrorKindInternal = Extract<ResponseError, { kind: "DnsLookup" }>["value"]["kind"]

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** Names of a session whose agent gives one answer to everything; its connection can be lost and is made again. */
function lookups(answer: LookupRecord[] | ResponseError) {
  const asked: string[] = []
  const protocols = new Set<number>()
  let lose = () => {}
  const connect = (): AgentConnection => {
    const { client, agent } = linkPair()
    client.pause()
    agent.receive((message) => {
      if (message.kind !== "GetAddrInfoRequestV2") return
      asked.push(`${message.value.node} ${message.value.family.kind}`)
      protocols.add(message.value.protocol)
      const value = Array.isArray(answer)
        ? ({ kind: "Ok", value: answer } as const)
        : ({ kind: "Err", value: answer } as const)
      agent.send({ kind: "GetAddrInfoResponse", value })
    })
    lose = () => agent.abort()
    ends.push(() => agent.abort())
    return { link: client, protocolVersion: "1.29.0" }
  }
  const notices: string[] = []
  const conversation = new Conversation(
    { ...connect(), peer: "agent", close: async () => {}, reconnect: async () => connect() },
    { log: silentLogger, notice: (text) => notices.push(text) },
  )
  const names = createNames(conversation)
  conversation.begin()
  ends.push(() => conversation.end())
  const comeBack = async () => {
    lose()
    await until(() => notices.some((text) => text.startsWith("Connected to the agent again")))
  }
  return { names, asked, protocols, comeBack }
}

const address = { name: "api.shop.", ip: "10.0.0.7" }
const life = (code: number, milliseconds: number) => lifeRecord({ code, milliseconds })

test.each([
  ["an answer that holds", [address, life(0, 900)], 1],
  ["an answer of no time", [address, life(0, 0)], 2],
  ["an answer of an agent that does not say", [address], 2],
  ["the absence of a name, for a time,", [life(3, 900)], 1],
  ["the absence of a name, of no time,", [life(3, 0)], 2],
])("%s is asked for as often as that demands", async (_, answer, times) => {
  const { names, asked, protocols } = lookups(answer)
  const results = [await names.remote("api.shop", 4), await names.remote("API.shop", 4)]
  const expected = answer.includes(address) ? { ips: ["10.0.0.7"] } : { code: 3 }
  for (const result of results) expect(result).toMatchObject(expected)
  expect(asked).toHaveLength(times)
  expect(protocols).toEqual(new Set([lifeProtocol]))
  // Of the other family nothing is known.
  await names.remote("api.shop", 6)
  expect(asked.at(-1)).toBe("api.shop Ipv6Only")
})

test("an answer is asked for again once its time is over", async () => {
  const { names, asked } = lookups([address, life(0, 80)])
  await names.remote("api.shop", 4)
  await names.remote("api.shop", 4)
  expect(asked).toHaveLength(1)
  await Bun.sleep(100)
  await names.remote("api.shop", 4)
  expect(asked).toHaveLength(2)
})

test("more addresses than are kept are asked for each time", async () => {
  const crowd = Array.from({ length: 33 }, (_, index) => ({ name: "db.", ip: `10.0.0.${index}` }))
  const { names, asked } = lookups([...crowd, life(0, 900)])
  for (let times = 0; times < 2; times++) expect(await names.remote("db", 4)).toMatchObject({ ips: { length: 33 } })
  expect(asked).toHaveLength(2)
})

test("what a lost connection's agent said is not believed of the next one", async () => {
  const { names, asked, comeBack } = lookups([address, life(0, 1000)])
  await names.remote("api.shop", 4)
  await comeBack()
  await names.remote("api.shop", 4)
  expect(asked).toHaveLength(2)
})

test("nor is how a name's full names fared", async () => {
  const { names, comeBack } = lookups([address])
  const walk = await names.walk("api", ["api.shop.", "api."])
  if (!walk || !("records" in walk)) throw new Error("no walk")
  expect([walk.codes, walk.isCurrent()]).toEqual([[0], true])
  await comeBack()
  expect(walk.isCurrent()).toBe(false)
})

test.each<[kind: ResolveErrorKindInternal, answer: unknown]>([
  [{ kind: "Timeout" }, undefined],
  [{ kind: "NoConnections" }, undefined],
  [{ kind: "Message", value: "refused" }, { code: 2 }],
  [{ kind: "NoRecordsFound", value: 3 }, expect.objectContaining({ codes: [3, 3], records: [] })],
  [{ kind: "NoRecordsFound", value: 0 }, expect.objectContaining({ codes: [3, 0], records: [] })],
])("an agent that says %j says that of a name's full names", async (kind, walk) => {
  const { names } = lookups({ kind: "DnsLookup", value: { kind } })
  expect(await names.walk("api", ["api.shop.", "api."])).toEqual(walk as never)
})

test.each([
  ["what is kept here is not for the program to keep", [address, life(0, 900)], 0],
  ["nor is what holds no time", [address, life(0, 0)], 0],
  ["of what nobody knows it may keep a second", [address], 1],
])("%s", async (_, answer, ttlSeconds) => {
  const { names } = lookups(answer)
  const world = createDnsWorld(
    {},
    {
      names,
      known: new KnownNames(),
      forward: async () => undefined,
      podConfig: async () => undefined,
      readsHosts: true,
    },
  )
  // A question for the address of "db".
  const query = Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 0x64, 0x62, 0, 0, 1, 0, 1])
  const message = Buffer.from(await world.answer(query))
  expect(message.readUInt32BE(message.length - 10)).toBe(ttlSeconds)
})
