import { expect, test } from "bun:test"
import { Liveness, pingEveryMs } from "./liveness.ts"

interface Course {
  /** The peer answers nothing from here on, in milliseconds. */
  stopsAt?: number
  /** From here on it answers again, what waited included. */
  goesOnAt?: number
  /** Time from a question to its answer. */
  roundTripMs?: number
  /** Bytes sent, by time. */
  sentBytes?(now: number): number
  /** Looks at the clock that do not happen. */
  weStandStill?: [from: number, to: number]
}

/** When the peer counts as gone; undefined when it never does within 40 s. */
function goneAt(course: Course, phaseMs: number): number | undefined {
  const { stopsAt = Infinity, goesOnAt = Infinity, roundTripMs = 50 } = course
  const liveness = new Liveness(0)
  let answers: number[] = []
  for (let now = 0; now < 40_000; now += 10) {
    for (const due of answers.filter((at) => at <= now && (at < stopsAt || now >= goesOnAt))) {
      answers = answers.filter((at) => at !== due)
      liveness.answered()
    }
    const [from, to] = course.weStandStill ?? [Infinity, Infinity]
    if (now % pingEveryMs !== phaseMs || (now >= from && now < to)) continue
    const verdict = liveness.look(now, course.sentBytes?.(now) ?? 0)
    if (verdict === "gone") return now
    if (verdict === "ask") answers.push(now + roundTripMs)
  }
  return undefined
}

const phases = [0, 10, 100, 250, 490]

test.each(phases)("a peer that is gone is told within 5 s, however its last answer fell (%d ms)", (phase) => {
  for (let stopsAt = 3_000; stopsAt < 4_000; stopsAt += 70) {
    const told = goneAt({ stopsAt }, phase)!
    expect(told - stopsAt).toBeLessThan(5_050)
    expect(told - stopsAt).toBeGreaterThan(4_000)
  }
})

test.each(phases)("a peer that stands still for 4 s stays (%d ms)", (phase) => {
  for (let stopsAt = 3_000; stopsAt < 4_000; stopsAt += 70)
    expect(goneAt({ stopsAt, goesOnAt: stopsAt + 4_000 }, phase)).toBeUndefined()
})

test("answers that take two seconds are slow, not missing", () => {
  expect(goneAt({ roundTripMs: 2_000 }, 0)).toBeUndefined()
})

test("a question behind much data has more time, with an end", () => {
  const megabytes = (count: number) => (now: number) => (now >= 3_000 ? count << 20 : 0)
  expect(goneAt({ roundTripMs: 9_000, sentBytes: megabytes(1) }, 0)).toBeLessThan(6_000)
  expect(goneAt({ stopsAt: 3_500, goesOnAt: 10_000, sentBytes: megabytes(1) }, 0)).toBeDefined()
  expect(goneAt({ stopsAt: 3_000, goesOnAt: 10_000, sentBytes: megabytes(1) }, 0)).toBeUndefined()
  const told = goneAt({ stopsAt: 3_000, sentBytes: megabytes(1_000) }, 0)!
  expect(told).toBeGreaterThan(30_000)
  expect(told).toBeLessThan(38_000)
})

test("when we stood still ourselves the peer gets its time from then on", () => {
  expect(goneAt({ weStandStill: [3_000, 20_000], roundTripMs: 100 }, 0)).toBeUndefined()
  const told = goneAt({ stopsAt: 2_990, weStandStill: [3_010, 20_000] }, 0)!
  expect(told).toBeGreaterThan(24_000)
  expect(told).toBeLessThan(25_500)
})
