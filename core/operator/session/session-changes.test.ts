import { expect, test } from "bun:test"
import { listedSession, toldSessions } from "../../../test/fakes/told-sessions.ts"
import { keptChanges } from "./session-changes.ts"

const texts = (told: ReturnType<typeof toldSessions>, after: bigint) => {
  const number = told.changes.after(after)
  const found = number === undefined ? undefined : told.changes.from(number, 10_000)
  return found?.map(({ type, view, version }) => {
    const ports = view.locks.map(({ port }) => port)
    return `${version} ${type} ${view.info.id} ${ports.join()}`
  })
}

test("sessions come, steal and give back ports, and go; a change nobody could see is none", () => {
  const told = toldSessions()
  told.put(listedSession(10n))
  told.beat()
  told.put(listedSession(11n, { connected: false }))
  told.hold(80, "A")
  told.put(listedSession(11n, { connected: true, ports: { mirror: [], steal: [80] } }))
  told.hold(80, "B")
  told.hold(80)
  told.end(10n)
  told.end(12n)
  expect(texts(told, 100n)).toEqual([
    "101 ADDED A ",
    "103 ADDED B ",
    "104 MODIFIED A 80",
    "106 MODIFIED A ",
    "106 MODIFIED B 80",
    "107 MODIFIED B ",
    "108 DELETED A ",
  ])
  expect(texts(told, 104n)).toHaveLength(4)
  expect(texts(told, 108n)).toEqual([])
  expect([...told.changes.views()].map(({ info, version }) => [info.id, version])).toEqual([["B", 107n]])
})

test("of very many changes the latest are kept; who asks from before is told so", () => {
  const told = toldSessions()
  for (let i = 0n; i < BigInt(2 * keptChanges); i++) told.put(listedSession(i + 1n))
  expect(texts(told, 100n)).toBeUndefined()
  expect(told.changes.from(0, 10)).toBeUndefined()
  expect(texts(told, 100n + BigInt(keptChanges))).toHaveLength(keptChanges)
  expect(told.changes.from(keptChanges, 10)).toHaveLength(10)
})

test("after a new list what happened meanwhile cannot be told, but what there is can", () => {
  const told = toldSessions()
  told.put(listedSession(10n))
  const { era } = told.changes
  const before = told.changes.version
  told.startOver()
  expect(told.changes.era).not.toBe(era)
  expect(texts(told, before)).toBeUndefined()
  expect(texts(told, told.changes.version)).toEqual([])
  expect([...told.changes.views()].map(({ info }) => info.id)).toEqual(["A"])
  told.end(10n)
  expect(texts(told, before + 10n)).toEqual(["112 DELETED A "])
})

test("a version that is still to come is waited for", async () => {
  const told = toldSessions()
  expect(await told.changes.reached(100n, 0)).toBe(true)
  expect(await told.changes.reached(101n, 10)).toBe(false)
  const reached = told.changes.reached(101n, 5_000)
  told.beat()
  expect(await reached).toBe(true)
})
