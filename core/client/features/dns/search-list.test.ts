import { afterEach, expect, test } from "bun:test"
import { parseDnsFilter } from "../../../../config/address-filter.ts"
import { linkPair } from "../../../link/index.ts"
import { silentLogger } from "../../../log.ts"
import { type DaemonMessage, type LookupRecord, lifeProtocol, lifeRecord } from "../../../protocol/index.ts"
import { walkProtocol, walkRecord } from "../../../protocol/search-walk.ts"
import { candidates, parseResolvConf, type ResolverConfig } from "../../../resolv-conf.ts"
import { Conversation } from "../../conversation.ts"
import type { DnsWorld } from "../../engine.ts"
import type { DirectionFilter } from "../outgoing/address-filter.ts"
import { KnownNames } from "./known-names.ts"
import { createNames, type Names } from "./lookup.ts"
import { SearchList } from "./search-list.ts"
import { createDnsWorld } from "./world.ts"

/* A program's resolver goes through the pod's search list as it is shown to it; an agent with a zone answers, and counts. */

const podFile = `search shop.svc.cluster.local svc.cluster.local cluster.local corp.example
nameserver 10.96.0.10
options ndots:5
`
const zone: Record<string, string[]> = {
  "backend.shop.svc.cluster.local.": ["10.0.0.1"],
  "db.data.svc.cluster.local.": ["10.0.0.2", "fd00::2"],
  "github.com.": ["192.0.2.1", "2001:db8::1"],
  "build.corp.example.": ["192.0.2.7"],
  "both.here.shop.svc.cluster.local.": ["10.0.0.3"],
  "six.data.svc.cluster.local.": ["fd00::6"],
}
/** Names that exist and have no address, and aliases. */
const empty = ["data.svc.cluster.local."]
const aliases: Record<string, [target: string, ip: string]> = {
  "www.example.": ["edge.example.", "192.0.2.8"],
  "rds.data.svc.cluster.local.": ["rds.cloud.example.", "192.0.2.9"],
}
const hosts: Record<string, string> = { "backend-host": "10.9.9.9" }

/** `podside`: holds for a second, holds no time; `mirrord`: tells records only. */
type Kind = "podside" | "podside without time" | "mirrord"

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

function recordsAt(full: string): LookupRecord[] {
  const alias = aliases[full.toLowerCase()]
  if (alias) return [{ name: alias[0], ip: alias[1] }]
  return (zone[full.toLowerCase()] ?? []).map((ip) => ({ name: full, ip }))
}
const codeOf = (full: string) => (recordsAt(full).length > 0 || empty.includes(full.toLowerCase()) ? 0 : 3)
const withHost = (name: string): LookupRecord[] => {
  const ip = hosts[name.replace(/\.$/, "")]
  return ip === undefined ? [] : [{ name, ip }]
}

function answerOf(kind: Kind, node: string, family: string, protocol: number): DaemonMessage {
  const fits = ({ ip }: LookupRecord) => family === "Both" || ip.includes(":") === (family === "Ipv6Only")
  const config = parseResolvConf(podFile)
  const milliseconds = kind === "podside" ? 900 : 0
  const ok = (records: LookupRecord[], more?: LookupRecord): DaemonMessage => ({
    kind: "GetAddrInfoResponse",
    value: { kind: "Ok", value: more ? [...records, more] : records },
  })
  const codes: number[] = []
  let records = withHost(node).filter(fits)
  for (const full of records.length > 0 ? [] : candidates(node, config)) {
    codes.push(codeOf(full))
    records = [...recordsAt(full), ...withHost(full)].filter(fits)
    if (records.length > 0) break
  }
  if (kind !== "mirrord" && protocol === walkProtocol) return ok(records, walkRecord({ codes, milliseconds }))
  const code = codes.includes(0) ? 0 : 3
  if (kind !== "mirrord" && protocol === lifeProtocol) return ok(records, lifeRecord({ code, milliseconds }))
  if (records.length > 0) return ok(records)
  const value = { kind: "DnsLookup", value: { kind: { kind: "NoRecordsFound", value: code } } } as const
  return { kind: "GetAddrInfoResponse", value: { kind: "Err", value } }
}

interface Options {
  agent?: Kind
  filter?: DirectionFilter
  file?: string
  readsHosts?: boolean
}

function session({ agent: kind = "podside", filter, file = podFile, readsHosts = true }: Options = {}) {
  const { client, agent } = linkPair()
  client.pause()
  const asked: string[] = []
  /** Questions that were asked while nothing else was on its way each begin a round trip. */
  const trips = { count: 0, open: 0 }
  agent.receive((message) => {
    if (message.kind !== "GetAddrInfoRequestV2") return
    const { node, family, protocol } = message.value
    asked.push(node)
    if (trips.open++ === 0) trips.count++
    setTimeout(() => {
      trips.open--
      agent.send(answerOf(kind, node, family.kind, protocol))
    }, 5)
  })
  const conversation = new Conversation(
    { link: client, protocolVersion: "1.29.0", peer: "agent", close: async () => {} },
    { log: silentLogger, notice() {} },
  )
  const askedHere: string[] = []
  const names: Names = {
    ...createNames(conversation),
    async local(name, family) {
      askedHere.push(`${name} ${family}`)
      const known = family === 4 && ["localhost", "db.data", "github.com"].includes(name)
      return known ? { ips: ["127.0.0.9"] } : { code: 3 }
    },
  }
  const known = new KnownNames()
  conversation.begin()
  ends.push(
    () => conversation.end(),
    () => agent.abort(),
  )
  const world = createDnsWorld(filter ? { filter } : {}, {
    names,
    known,
    forward: async () => undefined,
    podConfig: async () => (file === "" ? undefined : parseResolvConf(file)),
    readsHosts,
  })
  return { world, asked, askedHere, trips, known }
}

interface Heard {
  code: number
  ips: string[]
  owner: string
}

/** One question, and what its answer says. */
async function query(world: DnsWorld, name: string, type: 1 | 28): Promise<Heard> {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)])
  const question = new Uint8Array([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1])
  const answer = Buffer.from(await world.answer(question))
  const heard: Heard = { code: answer[3]! & 15, ips: [], owner: name }
  let at = question.length
  for (let left = answer.readUInt16BE(6); left > 0; left--) {
    const data = answer.subarray(at + 12, at + 12 + answer.readUInt16BE(at + 10))
    if (answer.readUInt16BE(at + 2) === 5)
      heard.owner = data
        .toString("latin1")
        .replace(/[\0-\x3f]/g, ".")
        .slice(1, -1)
    else heard.ips.push(type === 1 ? data.join(".") : data.toString("hex"))
    at += 12 + data.length
  }
  return heard
}

/** As a C library resolves: both families at once, name after name until there is an address. */
async function resolve(world: DnsWorld, name: string): Promise<{ ips: string[]; owner: string } | undefined> {
  const shown = parseResolvConf((await shownBy(world)).resolvConf)
  for (const full of candidates(name, shown)) {
    const both = await Promise.all([query(world, full.slice(0, -1), 1), query(world, full.slice(0, -1), 28)])
    const ips = both.flatMap((each) => each.ips)
    if (ips.length > 0) return { ips, owner: both.find((each) => each.ips.length > 0)!.owner }
  }
  return undefined
}

const files = new WeakMap<DnsWorld, ReturnType<DnsWorld["files"]>>()
const shownBy = (world: DnsWorld) => {
  if (!files.has(world)) files.set(world, world.files())
  return files.get(world)!
}

test("programs see the pod's search list and ndots, and our name server", async () => {
  expect((await shownBy(session().world)).resolvConf).toBe(
    "nameserver 127.53.53.53\nsearch shop.svc.cluster.local svc.cluster.local cluster.local corp.example\noptions ndots:5\n",
  )
})

test.each<[sentence: string, file: string, shown: string]>([
  ["where the pod's file cannot be had, no search list", "", "options ndots:0\n"],
  ["without a search list, none", "nameserver 10.0.0.1\n", "options ndots:1\n"],
  [
    "of what is no domain, nothing",
    "search ok.test $(rm) a..b ../x \0\nnameserver x\n",
    "search ok.test\noptions ndots:1\n",
  ],
  [
    "as much patience as all servers need",
    "nameserver 10.0.0.1\nnameserver 10.0.0.2\n",
    "options ndots:1 timeout:10\n",
  ],
  [
    "but no more than a resolver takes",
    "nameserver ::1\nnameserver ::2\noptions timeout:30",
    "options ndots:1 timeout:30\n",
  ],
])("%s is shown", async (_, file, shown) => {
  expect((await shownBy(session({ file }).world)).resolvConf).toBe(`nameserver 127.53.53.53\n${shown}`)
})

const kinds: Kind[] = ["podside", "podside without time", "mirrord"]

test.each(
  kinds.flatMap((agent) =>
    (
      [
        ["backend", ["10.0.0.1"], "backend.shop.svc.cluster.local"],
        ["backend.", undefined],
        ["backend.shop.svc.cluster.local", ["10.0.0.1"], "backend.shop.svc.cluster.local"],
        ["backend.shop.svc.cluster.local.", ["10.0.0.1"], "backend.shop.svc.cluster.local"],
        ["Backend", ["10.0.0.1"], "Backend.shop.svc.cluster.local"],
        ["db.data", ["10.0.0.2", "fd000000000000000000000000000002"], "db.data.svc.cluster.local"],
        ["db.data.", undefined],
        ["github.com", ["192.0.2.1", "20010db8000000000000000000000001"], "github.com"],
        ["github.com.", ["192.0.2.1", "20010db8000000000000000000000001"], "github.com"],
        ["build", ["192.0.2.7"], "build.corp.example"],
        ["six.data", ["fd000000000000000000000000000006"], "six.data.svc.cluster.local"],
        ["www.example", ["192.0.2.8"], "edge.example"],
        ["rds.data", ["192.0.2.9"], "rds.cloud.example"],
        ["nowhere", undefined],
        ["no.where", undefined],
      ] as [string, string[] | undefined, string?][]
    ).map(([name, ips, owner]) => [name, agent, ips, owner] as const),
  ),
)("%s is found as in the pod (%s)", async (name, agent, ips, owner) => {
  const { world } = session({ agent })
  for (let times = 0; times < 2; times++) {
    expect(await resolve(world, name)).toEqual(ips && ({ ips, owner } as never))
  }
})

test.each<[said: string, agent: Kind, trips: number, questions: number]>([
  // One for each family.
  ["backend", "podside", 1, 2],
  ["backend", "mirrord", 1, 2],
  ["backend.shop.svc.cluster.local.", "podside", 1, 2],
  ["db.data", "podside", 1, 1],
  ["db.data", "mirrord", 1, 1],
  ["db.data.svc.cluster.local.", "podside", 1, 2],
  ["github.com", "podside", 1, 1],
  ["github.com", "podside without time", 1, 1],
  ["github.com", "mirrord", 1, 1],
  ["github.com.", "podside", 1, 2],
  ["build", "podside", 2, 3],
  ["nowhere", "podside", 2, 3],
  ["no.where", "mirrord", 1, 1],
  // An alias, whose name does not tell which of the five it is.
  ["www.example", "mirrord", 2, 6],
  ["www.example", "podside", 1, 1],
])("%s costs (%s) %i round trip(s), %i question(s)", async (said, agent, count, questions) => {
  const { world, asked, trips } = session({ agent })
  await resolve(world, said)
  expect([trips.count, asked.length]).toEqual([count, questions])
})

test("what holds no time is used for one walk, and what holds for all of them", async () => {
  for (const [agent, times] of [
    ["podside", 1],
    ["podside without time", 3],
    ["mirrord", 3],
  ] as const) {
    const { world, asked } = session({ agent })
    for (let each = 0; each < 3; each++) await resolve(world, "github.com")
    expect(asked).toHaveLength(times)
  }
})

test("a walk that is not gone on with at once is not remembered", async () => {
  const { world, asked } = session({ agent: "mirrord" })
  await shownBy(world)
  await query(world, "github.com.shop.svc.cluster.local", 1)
  await Bun.sleep(1100)
  expect((await query(world, "github.com", 1)).ips).toEqual(["192.0.2.1"])
  expect(asked).toEqual(["github.com", "github.com."])
})

test("many programs that ask for the same at once each hear the truth", async () => {
  const { world } = session({ agent: "mirrord" })
  const all = await Promise.all(Array.from({ length: 20 }, () => resolve(world, "github.com")))
  for (const each of all) expect(each?.ips).toHaveLength(2)
})

test("a name in the pod's hosts goes before the search list where programs do not read that file", async () => {
  for (const [readsHosts, found] of [
    [false, 1],
    [true, 5],
  ] as const) {
    const { world, trips } = session({ readsHosts })
    expect((await resolve(world, "backend-host"))?.ips).toEqual(["10.9.9.9"])
    expect(trips.count).toBe(found === 1 ? 1 : 6)
  }
})

const filter = (matching: "remote" | "local", ...entries: string[]): DirectionFilter => ({
  matching,
  entries: entries.map(parseDnsFilter),
})

test.each<[sentence: string, filter: DirectionFilter, said: string, ips: string[] | undefined]>([
  ["what a local filter names is this machine's", filter("local", "db.data"), "db.data", ["127.0.0.9"]],
  ["also when it is said with its end", filter("local", "db.data"), "db.data.", ["127.0.0.9"]],
  ["the rest is the pod's", filter("local", "db.data"), "backend", ["10.0.0.1"]],
  [
    "also a name its full name could come from, when it was not said",
    filter("local", "backend"),
    "backend.shop",
    ["10.0.0.1"],
  ],
  ["this machine may not know it", filter("local", "backend"), "backend", undefined],
  [
    "a full name is meant by each that leads to it",
    filter("local", "backend.shop.svc.cluster.local"),
    "backend",
    undefined,
  ],
  ["another full name is not", filter("local", "backend.other.svc.cluster.local"), "backend", ["10.0.0.1"]],
  ["what a remote filter names is the pod's", filter("remote", "backend"), "backend", ["10.0.0.1"]],
  ["by its full name, too", filter("remote", "backend.shop.svc.cluster.local"), "backend", ["10.0.0.1"]],
  ["a full name is meant by a short one", filter("remote", "backend"), "backend.shop.svc.cluster.local.", ["10.0.0.1"]],
  ["another that leads to the same is not", filter("remote", "backend"), "backend.shop", undefined],
  ["the rest is this machine's", filter("remote", "backend"), "github.com", ["127.0.0.9"]],
  ["where the pod's search list leads nowhere", filter("remote", "backend"), "localhost", ["127.0.0.9"]],
  ["everything may be this machine's", filter("local", "0.0.0.0"), "github.com", ["127.0.0.9"]],
  ["or nothing", filter("remote", "0.0.0.0"), "backend", ["10.0.0.1"]],
])("%s", async (_, given, said, ips) => {
  const { world } = session({ filter: given })
  expect((await resolve(world, said))?.ips).toEqual(ips as never)
})

test.each<[said: string, askedHere: string[]]>([
  ["github.com", ["github.com"]],
  ["localhost", ["localhost", "localhost.shop.svc.cluster.local"]],
  // At the end of the search list it is what was said in any case.
  ["no.where", ["no.where", "no.where"]],
  ["nowhere", ["nowhere", "nowhere", "nowhere.shop.svc.cluster.local"]],
  ["cache.shop.svc.cluster.local.", ["cache", "cache.shop.svc.cluster.local"]],
])("%s, which is this machine's, is asked for here, and not of the pod nor by all its domains", async (said, names) => {
  const { world, asked, askedHere } = session({ filter: filter("remote", "backend") })
  await resolve(world, said)
  expect(asked).toEqual([])
  const [inIpv4, inIpv6] = ["4", "6"].map((family) => askedHere.filter((each) => each.endsWith(` ${family}`)))
  // In the family it has.
  if (said !== "localhost") expect(inIpv4!.map((each) => each.slice(0, -2)).sort()).toEqual(names)
  expect(inIpv6!.map((each) => each.slice(0, -2)).sort()).toEqual(names)
})

test("filters of connections know an address by what was said and by its full name", async () => {
  const { world, known } = session()
  await resolve(world, "db.data")
  for (const name of ["db.data", "db.data.svc.cluster.local"]) expect(known.isAddressOf(name, "10.0.0.2")).toBe(true)
  for (const name of ["db", "data.svc.cluster.local"]) expect(known.isAddressOf(name, "10.0.0.2")).toBe(false)
  expect(known.podNamesOf("10.0.0.2")[0]).toBe("db.data")
})

test("where the pod's file cannot be had the agent searches, as it does for names without an end", async () => {
  const { world, asked } = session({ file: "" })
  expect((await resolve(world, "backend"))?.ips).toEqual(["10.0.0.1"])
  expect(new Set(asked)).toEqual(new Set(["backend"]))
})

type WalkResult = Awaited<ReturnType<Names["walk"]>>

/** A list whose walks come to these, one after the other; names asked for alone have no address. */
function listOf(...walks: WalkResult[]) {
  const asked: string[] = []
  const names: Pick<Names, "walk" | "remote"> = {
    async walk(name) {
      asked.push(name)
      return walks.shift()
    },
    async remote(name) {
      asked.push(name)
      return { code: 3 }
    },
  }
  const list = new SearchList({ config: parseResolvConf(podFile), names, readsHosts: true })
  const through = async (said: string) => {
    const codes: unknown[] = []
    for (const full of candidates(said, parseResolvConf(podFile))) {
      const result = await list.lookUp(full.slice(0, -1), 4)
      list.answered(full.slice(0, -1), result)
      codes.push("code" in result ? result.code : result.ips)
      if ("ips" in result) break
    }
    return codes
  }
  return { through, asked }
}

const found = (isCurrent: () => boolean): WalkResult => ({
  codes: [3, 0],
  records: [{ name: "a.b.svc.cluster.local.", ip: "10.0.0.5" }],
  until: performance.now() + 900,
  isCurrent,
})

test("what a lost connection's agent told of a walk is not believed of the next one", async () => {
  let isLost = false
  const { through, asked } = listOf(
    found(() => !isLost),
    found(() => true),
  )
  for (let times = 0; times < 2; times++) expect(await through("a.b")).toEqual([3, ["10.0.0.5"]])
  expect(asked).toEqual(["a.b"])
  isLost = true
  expect(await through("a.b")).toEqual([3, ["10.0.0.5"]])
  expect(asked).toEqual(["a.b", "a.b"])
})

test("when no server answers for all full names, each is asked for alone, and the walk is not tried again for each", async () => {
  const { through, asked } = listOf(undefined)
  expect(await through("a.b")).toEqual([3, 3, 3, 3, 3])
  expect(asked).toEqual(["a.b", ...candidates("a.b", parseResolvConf(podFile))])
})

test("what the cluster's owner refuses is not asked for by its full names", async () => {
  const refused = { code: 2 }
  const { through, asked } = listOf(refused, refused, refused, refused, refused)
  expect(await through("a.b")).toEqual([2, 2, 2, 2, 2])
  expect(new Set(asked)).toEqual(new Set(["a.b"]))
})

const dotted = (config: Partial<ResolverConfig>) => ({ ...parseResolvConf(podFile), ...config })

test("with few dots demanded a name is tried as it is first, and the list is one round trip more", async () => {
  const { world, asked, trips } = session({ file: podFile.replace("ndots:5", "ndots:1") })
  expect(candidates("db.data", dotted({ ndots: 1 }))[0]).toBe("db.data.")
  expect((await resolve(world, "github.com"))?.owner).toBe("github.com")
  expect([trips.count, asked.length]).toEqual([1, 2])
  expect((await resolve(world, "build"))?.owner).toBe("build.corp.example")
})
