import { describe, expect, test } from "bun:test"
import { useCluster } from "../../../test/cluster/use.ts"
import { slack } from "../../../test/slack.ts"
import { silentLogger } from "../../log.ts"
import { replicasOf } from "../replicas/test-replica.ts"
import { LeasePortLocks } from "./lease-port-locks.ts"
import type { OnConcurrentSteal, PortLock } from "./port-locks.ts"

const cluster = useCluster("locks")

describe.skipIf(!cluster.available)("port locks of two replicas", () => {
  const newReplica = replicasOf(cluster)
  /** Tests share the namespace; each has a target of its own. */
  let target = ""
  let count = 0

  async function replica() {
    const { records, replicas, apiServer, kill } = await newReplica(() => locks.stop())
    const evicted: string[] = []
    const locks = new LeasePortLocks({
      records,
      replicas,
      evict: async (id) => void evicted.push(id),
      log: silentLogger,
    })
    return { locks, evicted, apiServer, kill, id: replicas.id, replicas }
  }
  const two = () => {
    target = `shop-${count++}/deployment/web`
    return Promise.all([replica(), replica()])
  }
  const lock = (sessionId: string, more: Partial<PortLock> = {}): PortLock => ({
    sessionId,
    targetKey: target,
    port: 80,
    mode: "steal",
    pods: [`${target}-1`, `${target}-2`],
    ...more,
  })
  const shownBy = ({ locks }: { locks: LeasePortLocks }) => locks.list().filter(({ targetKey }) => targetKey === target)

  test.each<[OnConcurrentSteal, boolean, string[]]>([
    ["abort", false, []],
    ["continue", true, []],
    ["override", true, ["A"]],
  ])("a clash with a session of the other replica, %s", async (how, granted, gone) => {
    const [one, other] = await two()
    await one.locks.acquire(lock("A"), "abort")
    expect((await other.locks.acquire(lock("B"), how)).granted).toBe(granted)
    expect(other.evicted).toEqual(gone)
  })

  test("a pod and the workload it belongs to exclude each other, on either replica; two pods of it do not", async () => {
    const [one, other] = await two()
    const pod = (n: number) => ({ targetKey: `${target.split("/")[0]}/pod/${n}`, pods: [`${target}-${n}`] })
    expect((await one.locks.acquire(lock("A"), "abort")).granted).toBe(true)
    expect((await other.locks.acquire(lock("B", pod(1)), "abort")).granted).toBe(false)
    expect((await other.locks.acquire(lock("B", pod(3)), "abort")).granted).toBe(true)
    await one.locks.release(lock("A"))
    expect((await other.locks.acquire(lock("C", pod(1)), "abort")).granted).toBe(true)
    expect((await one.locks.acquire(lock("D", pod(2)), "abort")).granted).toBe(true)
    expect((await one.locks.acquire(lock("A"), "abort")).granted).toBe(false)
    // The workload gets a pod that somebody has already.
    expect((await one.locks.acquire(lock("E", { pods: [] }), "abort")).granted).toBe(true)
    expect((await one.locks.acquire(lock("E"), "abort")).granted).toBe(false)
    expect(shownBy(one).map(({ sessionId }) => sessionId)).toEqual(["E"])
  })

  test("filtered steals share a port; another port is free", async () => {
    const [one, other] = await two()
    expect((await one.locks.acquire(lock("A", { filter: "header a" }), "abort")).granted).toBe(true)
    expect((await other.locks.acquire(lock("B", { filter: "header b" }), "abort")).granted).toBe(true)
    expect((await other.locks.acquire(lock("C"), "abort")).granted).toBe(false)
    expect((await other.locks.acquire(lock("C", { port: 81 }), "abort")).granted).toBe(true)
  })

  test("of many that want a port at once on both replicas, one gets it", async () => {
    const [one, other] = await two()
    const wanted = Array.from({ length: 12 }, (_, i) => (i % 2 ? one : other).locks.acquire(lock(`S${i}`), "abort"))
    expect((await Promise.all(wanted)).filter(({ granted }) => granted)).toHaveLength(1)
  })

  test("of many that want the same port number of different targets at once on both replicas, all get it", async () => {
    const [one, other] = await two()
    const [namespace] = target.split("/")
    const locks = Array.from({ length: 60 }, (_, i) =>
      lock(`S${i}`, { targetKey: `${namespace}/deployment/d${i}`, pods: [`d${i}-1`] }),
    )
    const answers = await Promise.all(locks.map((each, i) => (i % 2 ? one : other).locks.acquire(each, "abort")))
    expect(answers.filter(({ granted }) => granted)).toHaveLength(60)
    await Promise.all(locks.map((each, i) => (i % 2 ? one : other).locks.release(each)))
    await cluster.eventually("no lock", () => {
      return one.locks.list().every(({ targetKey }) => !targetKey.startsWith(`${namespace}/`))
    })
  }, 120_000)

  test("both replicas show a lock with its holder in one Lease, and neither once it is released", async () => {
    const [one, other] = await two()
    await one.locks.acquire(lock("A", { filter: "header a" }), "abort")
    expect(shownBy(one)).toMatchObject([{ sessionId: "A", port: 80, filter: "header a" }])
    await cluster.eventually("the other replica shows it", () => shownBy(other).length === 1)
    const { items } = await cluster.get("leases", "-l", "podside.dev/record=port-lock")
    const lease = items.find(({ spec }: { spec: { holderIdentity?: string } }) => spec.holderIdentity === `${one.id}/A`)
    expect(lease.spec.leaseDurationSeconds).toBe(12)
    await one.locks.releaseAll("A")
    expect(shownBy(one)).toEqual([])
    await cluster.eventually("the other replica shows none", () => shownBy(other).length === 0)
    expect((await other.locks.acquire(lock("B"), "abort")).granted).toBe(true)
  })

  test("a session that comes back on the other replica keeps its port, whatever the first one releases later", async () => {
    const [one, other] = await two()
    await one.locks.acquire(lock("A"), "abort")
    expect((await other.locks.acquire(lock("A"), "abort")).granted).toBe(true)
    await one.locks.release(lock("A"))
    expect((await one.locks.acquire(lock("B"), "abort")).granted).toBe(false)
    await other.locks.release(lock("A"))
    expect((await one.locks.acquire(lock("B"), "abort")).granted).toBe(true)
  })

  test("who holds a port hears of its end: moved with its session, lost to another, or not at all when it was given back", async () => {
    const [one, other] = await two()
    const ends: Record<string, string[]> = { A: [], B: [], C: [] }
    const hold = async ({ locks }: typeof one, name: string, port: number, how: OnConcurrentSteal = "abort") => {
      const wanted = lock(name, { port })
      expect((await locks.acquire(wanted, how)).granted).toBe(true)
      locks.follow(wanted, (end) => ends[name]!.push(end))
    }
    await hold(one, "A", 80)
    await hold(one, "B", 81)
    await hold(one, "C", 82)
    await other.locks.acquire(lock("A"), "abort")
    await other.locks.acquire(lock("X", { port: 81 }), "override")
    await one.locks.release(lock("C", { port: 82 }))
    await cluster.eventually("both ends", () => ends["A"]!.length + ends["B"]!.length === 2)
    expect(ends).toEqual({ A: ["moved"], B: ["lost"], C: [] })
    // Whoever follows too late hears it at once.
    await hold(one, "A", 80)
    expect(ends["A"]).toEqual(["moved"])
    one.locks.follow(lock("B", { port: 81 }), (end) => ends["B"]!.push(end))
    expect(ends["B"]).toEqual(["lost", "lost"])
  })

  test("a port that is wanted again while it is given back stays", async () => {
    const [one, other] = await two()
    await one.locks.acquire(lock("A"), "abort")
    await one.locks.release(lock("A"), () => true)
    expect((await other.locks.acquire(lock("B"), "abort")).granted).toBe(false)
    await one.locks.release(lock("A"), () => false)
    expect((await other.locks.acquire(lock("B"), "abort")).granted).toBe(true)
  })

  test("a port that could not be given back while the API server was away is free once it is back", async () => {
    const [one, other] = await two()
    for (const giveBack of [() => one.locks.release(lock("A")), () => one.locks.releaseAll("A")]) {
      await one.locks.acquire(lock("A"), "abort")
      await one.locks.acquire(lock("L", { port: 81 }), "abort")
      one.apiServer.leaves("port-lock")
      await expect(giveBack()).rejects.toThrow("away")
      one.apiServer.returns()
      await cluster.eventually("its port", async () => (await other.locks.acquire(lock("B"), "abort")).granted)
      expect((await other.locks.acquire(lock("B", { port: 81 }), "abort")).granted).toBe(false)
      await other.locks.releaseAll("B")
    }
  }, 60_000)

  test("a replica that was taken for dead does not get its ports back by waking up", async () => {
    const [one, other] = await two()
    const ends: string[] = []
    await one.locks.acquire(lock("A"), "abort")
    one.locks.follow(lock("A"), (end) => ends.push(end))
    one.replicas.stop()
    await cluster.eventually("its port", async () => (await other.locks.acquire(lock("B"), "abort")).granted, {
      timeoutSeconds: 60,
    })
    await one.replicas.start()
    await cluster.eventually("it hears of it", () => ends.length > 0)
    expect(ends).toEqual(["lost"])
    expect((await one.locks.acquire(lock("A"), "abort")).granted).toBe(false)
  }, 120_000)

  test("a replica that stops leaves its ports to the sessions that come back", async () => {
    const [one, other] = await two()
    await one.locks.acquire(lock("A"), "abort")
    one.locks.stop()
    await one.locks.release(lock("A"))
    expect((await other.locks.acquire(lock("B"), "abort")).granted).toBe(false)
    expect((await other.locks.acquire(lock("A"), "abort")).granted).toBe(true)
  })

  test("a dead replica's port is held for a while, then free within 15 s; a living one's stays", async () => {
    const [one, other] = await two()
    const living = await replica()
    await one.locks.acquire(lock("A"), "abort")
    await living.locks.acquire(lock("L", { port: 81 }), "abort")
    one.kill()
    const diedAt = Date.now()
    expect((await other.locks.acquire(lock("B"), "abort")).granted).toBe(false)
    await cluster.eventually(
      "the dead replica's port",
      async () => (await other.locks.acquire(lock("B"), "abort")).granted,
      { timeoutSeconds: 90 },
    )
    expect(Date.now() - diedAt).toBeLessThan(15_000 * slack)
    expect((await other.locks.acquire(lock("B", { port: 81 }), "abort")).granted).toBe(false)
  }, 120_000)
})
