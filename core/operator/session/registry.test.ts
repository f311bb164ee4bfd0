import { describe, expect, test } from "bun:test"
import { useCluster } from "../../../test/cluster/use.ts"
import { noAgents } from "../../../test/fakes/sessions.ts"
import { silentLogger } from "../../log.ts"
import { replicasOf } from "../replicas/test-replica.ts"
import type { Comer } from "./comer.ts"
import { type LiveSession, noPorts } from "./live-session.ts"
import { SessionRegistry } from "./registry.ts"
import type { Relay } from "./relay.ts"

const cluster = useCluster("registry")
const beatMs = 50

describe.skipIf(!cluster.available)("sessions of two replicas", () => {
  const newReplica = replicasOf(cluster, beatMs)
  let next = 1n

  async function replica({ unusedMs = 60_000, lostMs = 60_000, maxLifeMs = 0 } = {}) {
    const { records, replicas, apiServer, kill } = await newReplica(() => registry.stop())
    const closed: string[] = []
    const ports = new Map<bigint, unknown>()
    const registry = new SessionRegistry({
      records,
      replicas,
      unusedMs,
      lostMs,
      maxLifeMs,
      onClosed: (session, why) => {
        closed.push(`${session.info.id}: ${why}`)
        ports.set(session.number, session.ports)
      },
      log: silentLogger,
    })
    return { registry, replicas, closed, ports, kill, apiServer }
  }

  const comer: Comer = { user: "jim", userId: "key", namespace: "shop", target: { kind: "deployment", name: "web" } }
  function session(number: bigint, by: Comer = comer): LiveSession {
    const { user, userId, namespace, target } = by
    const identity = { user, groups: ["dev"], extra: { "example.com/token": ["secret"] } }
    const id = number.toString(16).toUpperCase()
    return {
      info: { id, identity, target, namespace, labels: {}, client: {}, openedAt: new Date() },
      number,
      userId,
      key: "k",
      headerFilter: undefined,
      ci: false,
      ports: noPorts,
      agents: noAgents,
      relays: new Set(),
      log: silentLogger,
    }
  }
  /** A socket that ends when it is told to. */
  function socket() {
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const told: string[] = []
    const closeWith = (why: string) => {
      told.push(why)
      resolve()
    }
    return { relay: { ended, closeWith, drop: resolve } as unknown as Relay, told, end: resolve }
  }
  const open = async ({ registry }: { registry: SessionRegistry }, number = next++) => {
    const { session: joined, fresh } = await registry.join(session(number), comer)
    const one = socket()
    registry.attach(joined, one.relay)
    return { number, fresh, session: joined, ...one }
  }

  test("a session of one replica is joined on the other by who opened it, for what it is about, and by nobody else", async () => {
    const [one, other] = await Promise.all([replica(), replica()])
    const { number, fresh } = await open(one)
    expect(fresh).toBe(true)
    const strangers: Comer[] = [
      { ...comer, user: "jane" },
      { ...comer, userId: "another key" },
      { ...comer, target: { kind: "deployment", name: "api" } },
      { ...comer, namespace: "bank" },
    ]
    for (const stranger of strangers) {
      await expect(other.registry.join(session(number, stranger), stranger)).rejects.toMatchObject({ code: 403 })
      expect(() => one.registry.find(number, stranger)).toThrow()
    }
    const joined = await open(other, number)
    expect(joined.fresh).toBe(false)
    const container: Comer = { ...comer, target: { kind: "deployment", name: "web", container: "side" } }
    expect((await other.registry.join(session(number, container), container)).fresh).toBe(false)
    expect(other.registry.list().map(({ info }) => info.identity)).toContainEqual({
      user: "jim",
      uid: undefined,
      groups: ["dev"],
      extra: {},
    })
  })

  test("whoever comes first at both replicas at once has made the session", async () => {
    const [one, other] = await Promise.all([replica(), replica()])
    const number = next++
    const opened = await Promise.all([open(one, number), open(other, number), open(one, number), open(other, number)])
    expect(opened.filter(({ fresh }) => fresh)).toHaveLength(1)
    expect(one.registry.list().filter((each) => each.number === number)).toHaveLength(1)
  })

  test("a session closed on one replica is told once to each socket, reported once, and never joined again", async () => {
    const [one, other] = await Promise.all([replica(), replica()])
    const here = await open(one)
    const there = await open(other, here.number)
    const spared = await open(other)
    await Promise.all(
      [one, other].map(({ registry }) => registry.close(registry.byText(String(here.number))!, "it was enough", true)),
    )
    await cluster.eventually("both sockets know", () => here.told.length > 0 && there.told.length > 0)
    expect([here.told, there.told]).toEqual([["it was enough"], ["it was enough"]])
    expect([...one.closed, ...other.closed]).toHaveLength(1)
    for (const { registry } of [one, other]) {
      expect(() => registry.find(here.number, comer)).toThrow(expect.objectContaining({ code: 410 }))
      await expect(registry.join(session(here.number), comer)).rejects.toMatchObject({ code: 410 })
    }
    expect(spared.told).toEqual([])
  })

  test("the end of a session is reported with the ports it had, on whichever replica", async () => {
    const [one, other] = await Promise.all([replica(), replica()])
    const here = await open(one)
    const there = await open(other, here.number)
    one.registry.hasPort(here.session, "steal", 80)
    one.registry.hasPort(here.session, "steal", 80)
    one.registry.hasPort(here.session, "mirror", 81)
    other.registry.hasPort(there.session, "steal", 8080)
    const ports = { steal: [80, 8080], mirror: [81] }
    await cluster.eventually("all are known", () => {
      const known = other.registry.byText(String(here.number))!.ports
      return known.steal.length === 2 && known.mirror.length === 1
    })
    await other.registry.close(other.registry.byText(String(here.number))!, "it was enough")
    const { steal, mirror } = other.ports.get(here.number) as typeof ports
    expect({ steal: steal.toSorted((a, b) => a - b), mirror }).toEqual(ports)
  })

  test("who takes a port over waits until the other replica's sockets are gone", async () => {
    const [one, other] = await Promise.all([replica(), replica()])
    const { number, told } = await open(one)
    await cluster.eventually("the other replica knows it", () => other.registry.byText(String(number)))
    await other.registry.evict(number.toString(16).toUpperCase(), "taken over")
    expect(told).toEqual(["taken over"])
    expect(one.registry.hereCount).toBe(0)
  })

  test("a session is closed when nobody has used it for its time, one in use is not", async () => {
    const one = await replica({ unusedMs: 300 })
    const left = await open(one)
    const used = await open(one)
    left.end()
    await cluster.eventually("its end", () => one.closed.length > 0)
    expect(one.closed).toEqual([`${left.number.toString(16).toUpperCase()}: nobody was connected to it any more`])
    expect(one.registry.byText(String(used.number))).toMatchObject({ connected: true })
  })

  test("a dead replica's session waits longer, for its client may not know yet", async () => {
    const [one, other] = await Promise.all([replica(), replica({ unusedMs: 300, lostMs: 8_000 })])
    const lost = await open(one)
    const unused = await open(other)
    one.kill()
    await cluster.eventually("its death is known", () => {
      return other.registry.byText(String(lost.number))?.connected === false
    })
    unused.end()
    const names = [unused, lost].map(({ number }) => number.toString(16).toUpperCase())
    // Sessions of earlier tests are there too.
    const ended = () => other.closed.map((each) => each.split(":")[0]!).filter((name) => names.includes(name))
    await cluster.eventually("both ends", () => ended().length === 2)
    expect(ended()).toEqual(names)
  }, 120_000)

  test("a replica that was taken for dead counts again for the sessions whose sockets it still has", async () => {
    const [one, other] = await Promise.all([replica({ unusedMs: 300 }), replica({ unusedMs: 300 })])
    const here = await open(one)
    one.replicas.stop()
    await cluster.eventually("its silence is known", () => {
      return other.registry.byText(String(here.number))?.connected === false
    })
    const there = await open(other, here.number)
    await one.replicas.start()
    await cluster.eventually("it is in the record again", () => {
      const session = one.registry.list().find(({ number }) => number === here.number)
      return (session as { replicas?: readonly string[] } | undefined)?.replicas?.includes(one.replicas.id)
    })
    there.end()
    await Bun.sleep(1_500)
    expect(one.registry.byText(String(here.number))).toMatchObject({ connected: true })
    here.end()
    await cluster.eventually("its end", () => one.closed.length + other.closed.length > 0)
  }, 30_000)

  test("a session that ends while the API server is away is closed once it is back; one in use is not", async () => {
    const one = await replica({ lostMs: 300 })
    const left = await open(one)
    const used = await open(one)
    one.apiServer.leaves("session")
    left.end()
    await cluster.eventually("its socket is gone", () => one.registry.hereCount === 1)
    one.apiServer.returns()
    await cluster.eventually("its end", () => one.closed.length > 0)
    expect(one.closed).toEqual([`${left.number.toString(16).toUpperCase()}: nobody was connected to it any more`])
    expect(one.registry.byText(String(used.number))).toMatchObject({ connected: true })
  }, 30_000)

  test("a session that could not be begun while the API server is away leaves nothing behind", async () => {
    const one = await replica({ lostMs: 300 })
    const number = next++
    const { session: joined } = await one.registry.join(session(number), comer)
    one.apiServer.leaves("session")
    await expect(one.registry.abandon(joined)).rejects.toThrow("away")
    expect(one.registry.hereCount).toBe(0)
    one.apiServer.returns()
    await cluster.eventually("it is not listed", () => one.registry.byText(String(number)) === undefined)
  }, 30_000)

  test("a session that could not be begun is as if it had never been", async () => {
    const one = await replica()
    const number = next++
    const { session: joined } = await one.registry.join(session(number), comer)
    await one.registry.abandon(joined)
    expect(one.registry.byText(String(number))).toBeUndefined()
    expect((await open(one, number)).fresh).toBe(true)
    const second = await one.registry.join(session(number), comer)
    await one.registry.abandon(second.session)
    expect(one.registry.byText(String(number))).toMatchObject({ connected: true })
  })
})
