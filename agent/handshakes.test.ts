import { expect, test } from "bun:test"
import { until } from "../test/until.ts"
import { type Handshake, Handshakes, maxHandshakes, maxWaitingHandshakes } from "./handshakes.ts"

/** Handshakes that never end by themselves; no descriptor is so high. */
function silentCallers(count: number) {
  const begun: { fd: number; end(): void }[] = []
  const givenUp: number[] = []
  const handshakes = new Handshakes((fd): Handshake => {
    const { promise: over, resolve: end } = Promise.withResolvers<void>()
    begun.push({ fd, end })
    return { over, giveUp: () => end(void givenUp.push(fd)) }
  })
  const first = 1_000_000
  for (let index = 0; index < count; index++) handshakes.add(first + index)
  return { begun, givenUp, first }
}

test("so many are served at once; another begins when one ends", async () => {
  const { begun, first } = silentCallers(maxHandshakes + 2)
  expect(begun).toHaveLength(maxHandshakes)
  begun[5]!.end()
  await Bun.sleep(0)
  expect(begun.slice(maxHandshakes).map(({ fd }) => fd)).toEqual([first + maxHandshakes])
  for (const { end } of begun) end()
})

test("one more than can wait is never begun", async () => {
  const all = maxHandshakes + maxWaitingHandshakes
  const { begun } = silentCallers(all + 1)
  for (let seen = 0; seen < begun.length; ) {
    for (const { end } of begun.slice(seen)) end()
    seen = begun.length
    await Bun.sleep(0)
  }
  expect(begun).toHaveLength(all)
})

test("while others wait the slow ones are given up after a second; alone they have more time", async () => {
  const crowd = silentCallers(maxHandshakes + 1)
  const few = silentCallers(maxHandshakes)
  await until(() => crowd.begun.length > maxHandshakes)
  expect(crowd.givenUp).toContain(crowd.first)
  expect(crowd.begun).toHaveLength(maxHandshakes + 1)
  expect(few.givenUp).toEqual([])
  for (const { end } of [...crowd.begun, ...few.begun]) end()
})
