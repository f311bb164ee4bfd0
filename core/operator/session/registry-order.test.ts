import { afterEach, expect, test } from "bun:test"
import { noAgents } from "../../../test/fakes/sessions.ts"
import { silentLogger } from "../../log.ts"
import type { Lease } from "../replicas/lease.ts"
import type { Change, RecordContent, Records } from "../replicas/records.ts"
import type { Replicas } from "../replicas/replicas.ts"
import type { Comer } from "./comer.ts"
import { type LiveSession, noPorts } from "./live-session.ts"
import { SessionRegistry } from "./registry.ts"
import type { Relay } from "./relay.ts"
import { sessionRecordContent, sessionRecordName } from "./session-record.ts"

/* What happens to a session while its record is written: each wait is the test's to end. */

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** Records in memory. Changes take turns; each waits for `reading` before it reads and for `writing` before it writes. */
function storage() {
  const stored = new Map<string, Lease>()
  const gates = { reading: Promise.resolve(), writing: Promise.resolve() }
  const failures: string[] = []
  let version = 0
  let turn: Promise<unknown> = Promise.resolve()
  const put = (name: string, { annotations, spec }: RecordContent) => {
    const labels = { "podside.dev/record": "session" }
    const metadata = { name, uid: name, labels, annotations, resourceVersion: String(++version) }
    stored.set(name, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec })
  }
  const change = async <T>(name: string, decide: (current: Lease | undefined) => Change<T>): Promise<T> => {
    await gates.reading
    const { write, answer } = decide(stored.get(name))
    await gates.writing
    if (write === "remove") stored.delete(name)
    else if (write) put(name, write)
    return answer
  }
  const records = {
    get: (name: string) => stored.get(name),
    list: () => [...stored.values()],
    onChange: () => () => {},
    async create(_kind: string, name: string, content: RecordContent) {
      const failure = failures.shift()
      await gates.writing
      if (failure) throw new Error(failure)
      const there = stored.get(name)
      if (!there) put(name, content)
      return there
    },
    change<T>(_kind: string, name: string, decide: (current: Lease | undefined) => Change<T>) {
      const changed = turn.then(() => change(name, decide))
      turn = changed.catch(() => {})
      return changed
    },
  } as unknown as Records
  return { records, stored, put, gates, failures }
}

function replica({ unusedMs = 60_000 } = {}) {
  const { records, ...more } = storage()
  const closed: string[] = []
  const registry = new SessionRegistry({
    records,
    replicas: { id: "one", alive: (id: string) => id === "one" || id === "other" } as unknown as Replicas,
    unusedMs,
    lostMs: 60_000,
    maxLifeMs: 0,
    onClosed: (_session, why) => void closed.push(why),
    log: silentLogger,
  })
  undo.push(() => registry.stop())
  return { registry, closed, ...more }
}

const comer: Comer = { user: "jim", userId: "key", namespace: "shop", target: { kind: "deployment", name: "web" } }
const number = 7n
const name = sessionRecordName(number)

function session() {
  const seen = { follows: 0, closes: 0 }
  const live: LiveSession = {
    info: {
      id: "7",
      identity: { user: "jim", groups: [], extra: {} },
      target: comer.target,
      namespace: "shop",
      labels: {},
      client: {},
      openedAt: new Date(),
    },
    number,
    userId: "key",
    key: undefined,
    headerFilter: undefined,
    ci: false,
    ports: noPorts,
    agents: { ...noAgents, follow: async () => void seen.follows++, close: () => void seen.closes++ },
    relays: new Set(),
    log: silentLogger,
  }
  return { live, seen }
}

const socket = () => ({ ended: new Promise(() => {}), closeWith: () => {}, drop: () => {} }) as unknown as Relay

function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { promise, resolve }
}

test("of two sockets that come at once one may fail: the session of the other still follows its pods", async () => {
  const { registry, failures } = replica()
  const [one, other] = [session(), session()]
  failures.push("the API server is away")
  const [first, second] = await Promise.allSettled([registry.join(one.live, comer), registry.join(other.live, comer)])
  expect([first.status, second.status]).toEqual(["rejected", "fulfilled"])
  const joined = second.status === "fulfilled" ? second.value.session : undefined
  const used = joined === one.live ? one : other
  expect(used.seen).toEqual({ follows: 1, closes: 0 })
  expect((used === one ? other : one).seen).toEqual({ follows: 0, closes: 1 })
})

test("who comes while an unused session is forgotten has one that is written down, and is its first socket", async () => {
  for (const which of ["reading", "writing"] as const) {
    const { registry, stored, gates } = replica()
    const { session: begun } = await registry.join(session().live, comer)
    const { promise, resolve } = gate()
    gates[which] = promise
    const abandoned = registry.abandon(begun)
    await Bun.sleep(5)
    const coming = registry.join(session().live, comer)
    resolve()
    const { session: joined } = await coming
    expect(await abandoned).toBe(false)
    expect(registry.attach(joined, socket())).toBe(true)
    expect(stored.has(name)).toBe(true)
    expect(registry.byText("7")).toMatchObject({ connected: true })
  }
})

test("a session whose client has come to another replica meanwhile stands, and its beginning is told here", async () => {
  const { registry, stored, put } = replica()
  const { session: begun } = await registry.join(session().live, comer)
  put(name, sessionRecordContent({ ...begun, replicas: ["one", "other"] }))
  expect(await registry.abandon(begun)).toBe(true)
  await Bun.sleep(5)
  expect(stored.get(name)?.metadata.annotations?.["podside.dev/session"]).toContain('"replicas":["other"]')
})

test("a session that was killed while it began stays so, when its socket does not come either", async () => {
  const { registry, stored, closed } = replica()
  const { session: begun } = await registry.join(session().live, comer)
  await registry.close(begun, "enough", true)
  expect(await registry.abandon(begun)).toBe(false)
  expect(stored.has(name)).toBe(true)
  expect(() => registry.find(number, comer)).toThrow(expect.objectContaining({ code: 410 }))
  expect(closed).toEqual(["enough"])
})

test("a client that comes back while its session is closed for want of one keeps it", async () => {
  const { registry, closed, put, gates } = replica({ unusedMs: 0 })
  put(name, sessionRecordContent({ ...session().live, replicas: [] }))
  const { promise, resolve } = gate()
  gates.reading = promise
  // The sweep has begun to close it.
  await Bun.sleep(1_500)
  const coming = registry.join(session().live, comer)
  resolve()
  const { session: joined } = await coming
  registry.attach(joined, socket())
  await Bun.sleep(5)
  expect(closed).toEqual([])
  expect(registry.byText("7")).toMatchObject({ connected: true })
})

test("of the inactive sessions that somebody ends the one whose client has just come back stays", async () => {
  for (const comesBack of [true, false]) {
    const { registry, closed, put, gates } = replica()
    put(name, sessionRecordContent({ ...session().live, replicas: [] }))
    const { promise, resolve } = gate()
    gates.reading = promise
    const closing = registry.closeInactive(registry.byText("7")!, "enough")
    const coming = comesBack ? registry.join(session().live, comer) : undefined
    resolve()
    await closing
    await coming
    expect(closed).toEqual(comesBack ? [] : ["enough"])
  }
})
