import { describe, expect, test } from "bun:test"
import { silentLogger } from "../../log.ts"
import type { HoldEnd, PortLock, PortLocks } from "../locks/port-locks.ts"
import type { Relay } from "./relay.ts"
import { sessionPorts } from "./session-ports.ts"
import type { Subscription } from "./subscription.ts"

const farewellMs = 20

const port80: Subscription = {
  mode: "steal",
  port: 80,
  request: { kind: "TcpSteal", value: { kind: "PortSubscribe", value: { kind: "All", value: 80 } } },
}

/** A socket as far as ports see it. */
function socket(relays: Set<Relay>) {
  let has = false
  let dropped = false
  const incoming = { needs: () => has, claim: () => void (has = true), leave: () => void (has = false) }
  const relay = { incoming, drop: () => void (dropped = true) } as unknown as Relay
  relays.add(relay)
  return { relay, has: () => has, dropped: () => dropped }
}

function session(grants = true) {
  const relays = new Set<Relay>()
  const held: PortLock[] = []
  let end: (how: HoldEnd) => void = () => {}
  const locks: PortLocks = {
    async acquire(lock) {
      if (grants) held.push(lock)
      return grants ? { granted: true } : { granted: false, holder: lock }
    },
    follow: (_lock, onEnd) => void (end = onEnd),
    async release(_lock, needed) {
      if (!needed?.()) held.length = 0
    },
    async releaseAll() {},
    list: () => held,
  }
  const info = {
    id: "A",
    identity: { user: "ann", groups: [], extra: {} },
    target: { kind: "deployment", name: "web" } as const,
    namespace: "shop",
    labels: {},
    client: {},
    openedAt: new Date(),
  }
  const ports = sessionPorts({
    locks,
    session: { info, relays, agents: { pods: () => [] } },
    onConcurrent: "abort",
    log: silentLogger,
    farewellMs,
  })
  return { ports, held, add: () => socket(relays), end: (how: HoldEnd) => end(how) }
}

describe("a session's stolen port", () => {
  test("belongs to the socket that asked last", async () => {
    const { ports, add, held } = session()
    const [old, next] = [add(), add()]
    expect(await ports.lock(port80, old.relay)).toBe(true)
    expect(await ports.lock(port80, next.relay)).toBe(true)
    // Until the next one really has it.
    expect([old.has(), next.has()]).toEqual([true, true])
    ports.subscribed(port80, next.relay)
    expect([old.has(), next.has()]).toEqual([false, true])
    ports.unlock(port80)
    expect(held).not.toEqual([])
    expect(await ports.lock(port80, old.relay)).toBe(true)
    ports.subscribed(port80, old.relay)
    expect([old.has(), next.has()]).toEqual([true, false])
  })

  test("stays where it is when it is not granted", async () => {
    const { ports, add } = session(false)
    const [old, next] = [add(), add()]
    old.relay.incoming.claim(port80)
    expect(await ports.lock(port80, next.relay)).toBe(false)
    expect([old.has(), next.has()]).toEqual([true, false])
  })

  test("that was given back while new pods were locked for it is not held for them", async () => {
    const { ports, add, held } = session()
    const one = add()
    expect(await ports.lock(port80, one.relay, true)).toBe(false)
    expect([held, one.has()]).toEqual([[], false])
    one.relay.incoming.claim(port80)
    expect(await ports.lock(port80, one.relay, true)).toBe(true)
    expect(held).toHaveLength(1)
  })

  test("that moved to another replica is left, and the socket stays", async () => {
    const { ports, add, end } = session()
    const one = add()
    await ports.lock(port80, one.relay)
    end("moved")
    expect(one.has()).toBe(false)
    await Bun.sleep(10 * farewellMs)
    expect(one.dropped()).toBe(false)
  })

  test("that was lost is left at once, and its socket ends, so that the client asks again", async () => {
    const { ports, add, end } = session()
    const [one, other] = [add(), add()]
    await ports.lock(port80, one.relay)
    end("lost")
    expect(one.has()).toBe(false)
    for (let i = 0; i < 300 && !one.dropped(); i++) await Bun.sleep(100)
    expect([one.dropped(), other.dropped()]).toEqual([true, false])
  })
})
