import { afterEach, expect, test } from "bun:test"
import { annsSession } from "../../../test/fakes/sessions.ts"
import { silentLogger } from "../../log.ts"
import { formatSessionId, noPorts } from "./live-session.ts"
import { maxRemembered, SessionExpiry, type SessionExpiryOptions } from "./session-expiry.ts"
import type { SessionRecord } from "./session-record.ts"

const record = (number: number, closed: boolean): SessionRecord => ({
  number: BigInt(number),
  info: { ...annsSession, id: formatSessionId(BigInt(number)), openedAt: new Date() },
  userId: "",
  key: undefined,
  headerFilter: undefined,
  ci: false,
  ports: noPorts,
  replicas: ["one"],
  ...(closed ? { closed: { why: "it was killed" } } : {}),
})

let expiry: SessionExpiry | undefined
afterEach(() => expiry?.stop())

/** An expiry that sees such records, and the numbers of those it forgets. */
function watch(records: SessionRecord[], more: Partial<SessionExpiryOptions> = {}): Set<number> {
  const forgotten = new Set<number>()
  expiry = new SessionExpiry({
    unusedMs: 60_000,
    lostMs: 60_000,
    maxLifeMs: 0,
    records: () => records,
    connected: () => true,
    close: async () => {},
    forget: async ({ number }) => void forgotten.add(Number(number)),
    log: silentLogger,
    ...more,
  })
  return forgotten
}

const looks = () => Bun.sleep(1_500)

test("of more closed sessions than are remembered those closed first are forgotten, open ones never", async () => {
  const records = Array.from({ length: maxRemembered }, (_, i) => record(i, i >= 2))
  const forgotten = watch(records)
  await looks()
  expect(forgotten.size).toBe(0)
  for (let i = 0; i < 5; i++) records.unshift(record(maxRemembered + i, true))
  await looks()
  expect([...forgotten].sort((one, other) => one - other)).toEqual([2, 3, 4])
})

test("a session that nobody uses is closed once, however slow that is, and only while nobody does", async () => {
  let isConnected = false
  const closing: ((now: SessionRecord) => boolean)[] = []
  const unused = { ...record(1, false), replicas: [] }
  watch([unused], {
    unusedMs: 0,
    connected: () => isConnected,
    close: (_record, _why, isDue) => {
      closing.push(isDue)
      return new Promise(() => {})
    },
  })
  await Bun.sleep(2_500)
  expect(closing.map((isDue) => isDue(unused))).toEqual([true])
  isConnected = true
  expect(closing[0]!(unused)).toBe(false)
})
