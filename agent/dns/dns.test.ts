import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { joinNetworkNamespace, type NetworkNamespace } from "../../core/linux/namespace.ts"
import type { AddressFamily, DaemonMessage } from "../../core/protocol/index.ts"
import { startAgent, type TestAgent, type TestClient } from "../test-agent.ts"

/* The target has its own network with a DNS server, and its own resolv.conf and hosts. */

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn("SKIPPED: name resolution is tested in network and mount namespaces, which need root")
const when = test.skipIf(!isRoot)

const zone: Record<
  string,
  {
    A?: string[]
    AAAA?: string[]
    PTR?: string
    cname?: string
    code?: number
    truncated?: true
    /** By TCP nothing comes, or something else. */
    byTcp?: "nothing" | "another answer" | "silence" | "an end in the middle"
    /** Records that a truncated reply has all the same. */
    part?: number
    /** How long its records hold, or, without records, how long that holds; default 0: every question is put to the server. */
    ttlSeconds?: number
  }
> = {
  "api.shop.svc.cluster.local.": { A: ["10.0.0.7"], AAAA: ["fd00::7"] },
  "only6.test.": { AAAA: ["fd00::6"] },
  "many.test.": { A: ["10.0.0.3", "10.0.0.1", "10.0.0.3"] },
  "_srv_name.test.": { A: ["10.0.0.9"] },
  "empty.test.": {},
  "lasting.test.": { A: ["10.0.0.4"], AAAA: ["fd00::4"], ttlSeconds: 30 },
  "empty.lasting.test.": { ttlSeconds: 30 },
  "crowd.test.": { A: Array.from({ length: 33 }, (_, index) => `10.2.0.${index}`), ttlSeconds: 30 },
  "broken.test.": { code: 2 },
  "big.test.": { A: Array.from({ length: 200 }, (_, index) => `10.1.0.${index}`), truncated: true },
  "unreachable.test.": { A: ["10.0.0.5"], truncated: true, byTcp: "nothing" },
  "forged.test.": { A: ["10.0.0.5"], truncated: true, byTcp: "another answer" },
  "silent.test.": { A: ["10.0.0.5"], truncated: true, byTcp: "silence" },
  "cut.test.": { A: ["10.0.0.5"], truncated: true, byTcp: "an end in the middle" },
  "part.test.": { A: ["10.0.0.5", "10.0.0.6"], truncated: true, part: 1, byTcp: "nothing" },
  "alias.test.": { cname: "real.test.", A: ["10.0.0.8"] },
  "7.0.0.10.in-addr.arpa.": { PTR: "api.shop.svc.cluster.local." },
  [`7.${"0.".repeat(29)}d.f.ip6.arpa.`]: { PTR: "api6.shop.svc.cluster.local." },
}
const asked: string[] = []
/** From which port each question by UDP came. */
const ports: number[] = []
let folder: string
let target: Bun.Subprocess<"pipe", "pipe", "inherit">
let namespace: NetworkNamespace
let agent: TestAgent
let client: TestClient
let metricsAddress: string
const undo: (() => unknown)[] = []

const usualHosts = "127.0.0.1 localhost\n10.9.9.9 Legacy legacy.alias # old\nfd00::9 legacy\nnonsense here\n10.9.9.8\n"
const setResolvConf = (text: string) => writeFileSync(join(folder, "resolv.conf"), text)
const setHosts = (text: string) => writeFileSync(join(folder, "hosts"), text)
const configure = (resolvConf: string) => {
  setResolvConf(resolvConf)
  setHosts(usualHosts)
}
const kubernetes =
  "search shop.svc.cluster.local svc.cluster.local\nnameserver 127.0.0.1\noptions ndots:5 timeout:1 attempts:2\n"

beforeAll(async () => {
  if (!isRoot) return
  folder = mkdtempSync(join(tmpdir(), "podside-dns-"))
  configure(kubernetes)
  const setup = `ip link set lo up
    mount --bind ${folder}/resolv.conf /etc/resolv.conf && mount --bind ${folder}/hosts /etc/hosts
    echo ready; exec cat`
  target = Bun.spawn(["unshare", "--net", "--mount", "sh", "-c", setup], { stdin: "pipe", stdout: "pipe" })
  await target.stdout.getReader().read()
  namespace = joinNetworkNamespace(target.pid)
  await serveZone()
  const free = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  metricsAddress = `127.0.0.1:${free.port}`
  free.stop(true)
  agent = await startAgent(["process", "--pid", `${target.pid}`], { metricsAddress })
  client = await agent.connect()
  await client.negotiate()
})
beforeEach(() => {
  asked.length = 0
  ports.length = 0
  if (isRoot) configure(kubernetes)
})
afterAll(async () => {
  if (!isRoot) return
  await agent.stop()
  for (const step of undo) step()
  namespace.close()
  target.kill()
  rmSync(folder, { recursive: true })
})

async function serveZone(): Promise<void> {
  const udp = await namespace.run(() =>
    Bun.udpSocket({
      hostname: "127.0.0.1",
      port: 53,
      socket: {
        data(socket, query, port, address) {
          ports.push(port)
          const message = reply(query, true)
          if (asked.at(-1) !== "deaf.test.") socket.send(message, port, address)
        },
      },
    }),
  )
  const tcp = namespace.run(() =>
    Bun.listen({
      hostname: "127.0.0.1",
      port: 53,
      socket: {
        data(socket, data) {
          if (data.readUInt16BE(0) !== data.length - 2) return void socket.end()
          const message = reply(data.subarray(2), false)
          const { byTcp } = zone[asked.at(-1)!.toLowerCase()] ?? {}
          if (byTcp === "nothing") return void socket.end()
          if (byTcp === "silence") return
          if (byTcp === "another answer") message.writeUInt16BE(message.readUInt16BE(0) ^ 1, 0)
          const length = Buffer.alloc(2)
          length.writeUInt16BE(message.length)
          // In two pieces, as a network may deliver it.
          socket.write(Buffer.concat([length, message.subarray(0, 10)]))
          if (byTcp === "an end in the middle") return void socket.terminate()
          socket.write(message.subarray(10))
        },
      },
    }),
  )
  undo.push(
    () => udp.close(),
    () => tcp.stop(true),
  )
}

function encode(name: string): Buffer {
  const labels = name.split(".").slice(0, -1)
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.alloc(1),
  ])
}

function reply(query: Buffer, overUdp: boolean): Buffer {
  let end = 12
  const labels: string[] = []
  while (query[end] !== 0) {
    labels.push(query.toString("latin1", end + 1, end + 1 + query[end]!))
    end += 1 + query[end]!
  }
  const name = `${labels.join(".")}.`
  const type = query.readUInt16BE(end + 1)
  asked.push(name)
  const entry = zone[name.toLowerCase()]
  const isTruncated = overUdp && entry?.truncated
  const records: Buffer[] = []
  const add = (owner: Buffer, recordType: number, data: Buffer) => {
    const head = Buffer.alloc(10)
    head.writeUInt16BE(recordType, 0)
    head.writeUInt16BE(1, 2)
    head.writeUInt32BE(entry?.ttlSeconds ?? 0, 4)
    head.writeUInt16BE(data.length, 8)
    records.push(owner, head, data)
  }
  const pointer = Buffer.from([0xc0, 12])
  if (entry) {
    const count = isTruncated ? (entry.part ?? 0) : undefined
    if (entry.cname) add(pointer, 5, encode(entry.cname))
    const owner = entry.cname ? encode(entry.cname) : pointer
    if (type === 1)
      for (const ip of (entry.A ?? []).slice(0, count)) add(owner, 1, Buffer.from(ip.split(".").map(Number)))
    if (type === 28)
      for (const ip of entry.AAAA ?? []) add(owner, 28, Buffer.from(`fd${"0".repeat(28)}0${ip.at(-1)}`, "hex"))
    if (type === 12 && entry.PTR) add(owner, 12, encode(entry.PTR))
  }
  const absence = entry?.ttlSeconds !== undefined && records.length === 0 ? [soa(entry.ttlSeconds)] : []
  const header = Buffer.alloc(12)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(0x8180 | (isTruncated ? 0x0200 : 0) | (entry ? (entry.code ?? 0) : 3), 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(records.length / 3, 6)
  header.writeUInt16BE(absence.length, 8)
  return Buffer.concat([header, query.subarray(12, end + 5), ...records, ...absence])
}

/** A zone's own record, which says how long absence holds. */
function soa(seconds: number): Buffer {
  const bytes = Buffer.alloc(1 + 10 + 22)
  bytes.writeUInt16BE(6, 1)
  bytes.writeUInt16BE(1, 3)
  bytes.writeUInt32BE(seconds, 5)
  bytes.writeUInt16BE(22, 9)
  bytes.writeUInt32BE(seconds, 29)
  return bytes
}

const question = (node: string, family: AddressFamily["kind"] = "Both") =>
  ({
    kind: "GetAddrInfoRequestV2",
    value: { node, servicePort: 0, family: { kind: family }, socktype: { kind: "Any" }, flags: 0, protocol: 0 },
  }) as const
const lifeQuestion = (node: string) => {
  const { kind, value } = question(node, "Ipv4Only")
  return { kind, value: { ...value, protocol: 0x706f6473 } }
}
const ask = async (node: string, family?: AddressFamily["kind"]) => result(await client.ask(question(node, family)))
function result(message: DaemonMessage): unknown {
  if (message.kind !== "GetAddrInfoResponse") throw new Error(message.kind)
  const { kind, value } = message.value
  if (kind === "Ok") return value.map(({ name, ip }) => `${name} ${ip}`)
  return value.kind === "DnsLookup" ? value.value.kind : value
}

when("a service's short name goes through the search list, in both families", async () => {
  expect(await ask("api")).toEqual(["api.shop.svc.cluster.local. 10.0.0.7", "api.shop.svc.cluster.local. fd00::7"])
  expect(new Set(asked)).toEqual(new Set(["api.shop.svc.cluster.local."]))
})

when.each([
  ["Ipv4Only", ["api.shop.svc.cluster.local. 10.0.0.7"]],
  ["Ipv6Only", ["api.shop.svc.cluster.local. fd00::7"]],
  ["Any", ["api.shop.svc.cluster.local. 10.0.0.7"]],
] as const)("%s asks for that family only", async (family, expected) => {
  expect(await ask("api", family)).toEqual([...expected])
})

when("Any falls back to IPv6, IPv4 alone does not", async () => {
  expect(await ask("only6.test", "Any")).toEqual(["only6.test. fd00::6"])
  expect(await ask("only6.test", "Ipv4Only")).toEqual({ kind: "NoRecordsFound", value: 0 })
})

when("the old form means IPv4", async () => {
  const answer = await client.ask({ kind: "GetAddrInfoRequest", value: { node: "api" } })
  expect(result(answer)).toEqual(["api.shop.svc.cluster.local. 10.0.0.7"])
})

when("ndots decides whether the name as it is comes first or last", async () => {
  await ask("many.test", "Ipv4Only")
  expect(asked).toEqual(["many.test.shop.svc.cluster.local.", "many.test.svc.cluster.local.", "many.test."])
  asked.length = 0
  configure(kubernetes.replace("ndots:5", "ndots:1"))
  await ask("many.test", "Ipv4Only")
  expect(asked).toEqual(["many.test."])
})

when("a final dot means no search at all; order and duplicates stay", async () => {
  expect(await ask("many.test.", "Ipv4Only")).toEqual([
    "many.test. 10.0.0.3",
    "many.test. 10.0.0.1",
    "many.test. 10.0.0.3",
  ])
  expect(asked).toEqual(["many.test."])
})

when("a name of one word is asked for domain by domain only as long as there is none", async () => {
  await ask("api", "Ipv4Only")
  expect(asked).toEqual(["api.shop.svc.cluster.local."])
  asked.length = 0
  await ask("nowhere", "Ipv4Only")
  expect(asked).toEqual(["nowhere.shop.svc.cluster.local.", "nowhere.svc.cluster.local.", "nowhere."])
})

when("an answer that holds no time at all is asked for each time", async () => {
  for (let times = 0; times < 2; times++) await ask("api.shop.svc.cluster.local.", "Ipv4Only")
  expect(asked).toHaveLength(2)
})

/** Files that have just changed are read each time, and what is known with them is not kept. */
const filesAreOld = () => Bun.sleep(150)
const lasting = "lasting.test. 10.0.0.4"

when("an answer that holds is asked for once, for each family on its own, whatever the case of its name", async () => {
  await filesAreOld()
  for (const name of ["lasting.test.", "lasting.test.", "Lasting.TEST."])
    expect(await ask(name, "Ipv4Only")).toEqual([lasting])
  expect(asked).toEqual(["lasting.test."])
  expect(await ask("lasting.test.", "Ipv6Only")).toEqual(["lasting.test. fd00::4"])
  expect(asked).toHaveLength(2)
  await ask("lasting.test.", "Ipv6Only")
  expect(asked).toHaveLength(2)
})

when(
  "that there is nothing is asked for once where the zone says how long that holds, and each time elsewhere",
  async () => {
    await filesAreOld()
    for (let times = 0; times < 2; times++) {
      expect(await ask("empty.lasting.test.", "Ipv4Only")).toEqual({ kind: "NoRecordsFound", value: 0 })
      expect(await ask("nowhere.test.", "Ipv4Only")).toEqual({ kind: "NoRecordsFound", value: 3 })
    }
    expect(asked.sort()).toEqual(["empty.lasting.test.", "nowhere.test.", "nowhere.test."])
  },
)

when("a finding holds no longer than the names tried before it", async () => {
  await filesAreOld()
  for (let times = 0; times < 2; times++) expect(await ask("lasting.test", "Ipv4Only")).toEqual([lasting])
  expect(asked.filter((name) => name === "lasting.test.shop.svc.cluster.local.")).toHaveLength(2)
})

when("an answer of many records is asked for each time, so that what is kept stays small", async () => {
  await filesAreOld()
  for (let times = 0; times < 2; times++) expect(await ask("crowd.test.", "Ipv4Only")).toHaveLength(33)
  expect(asked).toHaveLength(2)
})

when("an answer is believed for a second at most", async () => {
  await filesAreOld()
  await ask("lasting.test.", "Ipv4Only")
  await Bun.sleep(1050)
  await ask("lasting.test.", "Ipv4Only")
  expect(asked).toHaveLength(2)
})

when("a line of hosts wins over what is known, and its end brings the server back", async () => {
  await filesAreOld()
  expect(await ask("lasting.test.", "Ipv4Only")).toEqual([lasting])
  setHosts("10.9.9.1 lasting.test\n")
  expect(await ask("lasting.test.", "Ipv4Only")).toEqual(["lasting.test. 10.9.9.1"])
  setHosts(usualHosts)
  expect(await ask("lasting.test.", "Ipv4Only")).toEqual([lasting])
  expect(asked).toHaveLength(2)
})

when("other servers are asked again", async () => {
  await filesAreOld()
  expect(await ask("lasting.test.", "Ipv4Only")).toEqual([lasting])
  setResolvConf("nameserver 127.0.0.2\noptions timeout:1 attempts:1\n")
  expect(await ask("lasting.test.", "Ipv4Only")).toEqual({ kind: "NoConnections" })
})

when("PODSIDE_AGENT_KEEP_NAMES=false: nothing is kept, and a client is told so", async () => {
  const forgetful = await startAgent(["process", "--pid", `${target.pid}`], { keepNames: false })
  const other = await forgetful.connect()
  await other.negotiate()
  await filesAreOld()
  for (let times = 0; times < 2; times++) {
    const answer = await other.ask(lifeQuestion("lasting.test."))
    expect(result(answer)).toEqual([lasting, "+podside-life.0.0 0.0.0.0"])
  }
  expect(asked).toHaveLength(2)
  await forgetful.stop()
})

when.each([
  ["records that hold", "lasting.test.", 1, 0, true],
  ["records of no time", "many.test.", 3, 0, false],
  ["a literal address", "192.0.2.5", 1, 0, false],
  ["a line of hosts", "legacy", 1, 0, false],
  ["no such record, for a time", "empty.lasting.test.", 0, 0, true],
  ["no such name, of no time", "nowhere.test.", 0, 3, false],
  ["a server's fault", "broken.test.", 0, 2, false],
])("a client that asks is told how long %s may be kept", async (_, name, count, code, holds) => {
  await filesAreOld()
  const records = result(await client.ask(lifeQuestion(name))) as string[]
  expect(records).toHaveLength(count + 1)
  const [, told, milliseconds] = /^\+podside-life\.(\d+)\.(\d+) 0\.0\.0\.0$/.exec(records.at(-1)!)!
  expect(Number(told)).toBe(code)
  if (holds) expect(Number(milliseconds)).toBeWithin(900, 1001)
  else expect(Number(milliseconds)).toBe(0)
})

const walkQuestion = (node: string) => {
  const { kind, value } = question(node)
  return { kind, value: { ...value, protocol: 0x706f6477 } }
}

when.each([
  ["a short name that is found at once", "api", 2, "0"],
  ["a name that is found as it is, at the end", "many.test", 3, "3.3.0"],
  ["a name that exists without an address", "empty.test", 0, "3.3.0"],
  ["a name nobody knows", "nowhere", 0, "3.3.3"],
  ["a server's fault", "broken.test", 0, "3.3.2"],
  ["a full name", "many.test.", 3, "0"],
  ["a line of hosts", "legacy", 2, ""],
])("a client that asks is told how each full name of %s fared", async (_, name, count, codes) => {
  const records = result(await client.ask(walkQuestion(name))) as string[]
  expect(records).toHaveLength(count + 1)
  expect(records.at(-1)).toBe(`+podside-walk.0${codes && `.${codes}`} 0.0.0.0`)
})

when("and how long that holds, or that nobody answers", async () => {
  await filesAreOld()
  const records = result(await client.ask(walkQuestion("lasting.test."))) as string[]
  const [, milliseconds] = /^\+podside-walk\.(\d+)\.0 0\.0\.0\.0$/.exec(records.at(-1)!)!
  expect(Number(milliseconds)).toBeWithin(900, 1001)
  configure("nameserver 127.0.0.2\noptions timeout:1 attempts:1\n")
  expect(result(await client.ask(walkQuestion("lasting.test.")))).toEqual({ kind: "NoConnections" })
})

when("a client is told what is left of the time, not the whole of it again", async () => {
  await filesAreOld()
  await client.ask(lifeQuestion("lasting.test."))
  await Bun.sleep(300)
  const records = result(await client.ask(lifeQuestion("lasting.test."))) as string[]
  expect(Number(/\d+(?= 0\.0)/.exec(records.at(-1)!))).toBeWithin(1, 701)
  expect(asked).toHaveLength(1)
})

when("all questions of a moment come from one port, later ones from another", async () => {
  expect(await ask("api.shop.svc", "Both")).toEqual({ kind: "NoRecordsFound", value: 3 })
  expect(ports).toHaveLength(6)
  expect(new Set(ports).size).toBe(1)
  await Bun.sleep(1050)
  await ask("many.test.", "Ipv4Only")
  expect(new Set(ports).size).toBe(2)
})

when("hundreds of questions at once are all answered with what was asked, from more than one port", async () => {
  configure(kubernetes.replace("timeout:1", "timeout:10"))
  const many = Array.from({ length: 300 }, (_, index) => (index % 3 === 0 ? "big.test." : "many.test."))
  client.send(...many.map((name) => question(name, "Ipv4Only")))
  for (const name of many) expect(result(await client.next())).toHaveLength(name === "big.test." ? 200 : 3)
  expect(new Set(ports).size).toBeGreaterThan(1)
})

const running = async () =>
  /^mirrord_agent_dns_request_count (.*)$/m.exec(await (await fetch(`http://${metricsAddress}/metrics`)).text())?.[1]

when("a question without an answer is asked again from another port, and holds up nobody else", async () => {
  const other = await agent.connect()
  await other.negotiate()
  const unanswered = ask("deaf.test.", "Ipv4Only")
  expect(result(await other.ask(question("many.test.", "Ipv4Only")))).toHaveLength(3)
  expect(await running()).toBe("1")
  expect(await unanswered).toEqual({ kind: "Timeout" })
  expect(await running()).toBe("0")
  const [first, second] = ports.filter((_, index) => asked[index] === "deaf.test.")
  expect(second).toBeNumber()
  expect(second).not.toBe(first)
})

when("hosts wins, whatever the case, without asking a server", async () => {
  expect(await ask("legacy")).toEqual(["legacy 10.9.9.9", "legacy fd00::9"])
  expect(await ask("LEGACY", "Ipv6Only")).toEqual(["LEGACY fd00::9"])
  expect(asked).toEqual([])
  expect(await ask("here.")).toEqual({ kind: "NoRecordsFound", value: 3 })
})

when("a literal address is its own answer; names may have underscores", async () => {
  expect(await ask("192.0.2.5")).toEqual(["192.0.2.5 192.0.2.5"])
  expect(await ask("_srv_name.test")).toEqual(["_srv_name.test. 10.0.0.9"])
})

when("an alias answers under its real name", async () => {
  expect(await ask("alias.test", "Ipv4Only")).toEqual(["real.test. 10.0.0.8"])
})

when("an answer that does not fit into a datagram is fetched over TCP", async () => {
  expect(await ask("big.test.", "Ipv4Only")).toHaveLength(200)
})

when.each([
  ["the part that fitted is the answer", "part.test.", ["part.test. 10.0.0.5"]],
  [
    "an answer of which nothing fitted is a failure, not the absence of addresses,",
    "unreachable.test.",
    { kind: "NoConnections" },
  ],
  ["what answers another question is no answer,", "forged.test.", { kind: "NoConnections" }],
  ["what breaks off is no answer,", "cut.test.", { kind: "NoConnections" }],
  ["what never comes is waited for in vain,", "silent.test.", { kind: "Timeout" }],
])("%s when TCP brings none", async (_, name, expected) => {
  expect(await ask(name, "Ipv4Only")).toEqual(expected)
})

when.each([
  ["nowhere.test", { kind: "NoRecordsFound", value: 3 }],
  ["empty.test", { kind: "NoRecordsFound", value: 0 }],
  ["broken.test.", { kind: "Message", value: "the target's name server failed with response code 2" }],
  ["a..b", { kind: "NoRecordsFound", value: 3 }],
  [`${"x".repeat(64)}.test.`, { kind: "NoRecordsFound", value: 3 }],
])("%s is reported as %j", async (name, error) => {
  expect(await ask(name)).toEqual(error)
})

when("a server that is not there is passed over for the next one", async () => {
  configure(`nameserver 127.0.0.2\n${kubernetes}`)
  expect(await ask("many.test.", "Ipv4Only")).toHaveLength(3)
  configure("nameserver 127.0.0.2\noptions timeout:1 attempts:1\n")
  expect(await ask("many.test.")).toEqual({ kind: "NoConnections" })
})

when("answers keep the order of the questions", async () => {
  client.send(question("big.test."), question("legacy"), question("nowhere.test"), question("192.0.2.5"))
  const answers = []
  for (let index = 0; index < 4; index++) answers.push(result(await client.next()))
  expect(answers[0]).toHaveLength(200)
  expect(answers.slice(1)).toEqual([
    ["legacy 10.9.9.9", "legacy fd00::9"],
    { kind: "NoRecordsFound", value: 3 },
    ["192.0.2.5 192.0.2.5"],
  ])
})

when("addresses are looked up backwards, in hosts first", async () => {
  const reverse = async (ipAddress: string) => {
    const answer = await client.ask({ kind: "ReverseDnsLookup", value: { ipAddress } })
    return answer.kind === "ReverseDnsLookup" && answer.value.kind === "Ok" ? answer.value.value.hostname : answer
  }
  expect(await reverse("10.0.0.7")).toEqual({ kind: "Ok", value: "api.shop.svc.cluster.local" })
  expect(await reverse("fd00::7")).toEqual({ kind: "Ok", value: "api6.shop.svc.cluster.local" })
  expect(await reverse("10.9.9.9")).toEqual({ kind: "Ok", value: "Legacy" })
  expect(await reverse("10.0.0.99")).toMatchObject({ kind: "Err" })
})
