import { expect, test } from "bun:test"
import { AppError } from "../../../errors.ts"
import { statusError } from "../../../kube/errors.ts"
import { linkPair } from "../../../link/index.ts"
import { reconnect, sessionGone } from "./reconnect.ts"

/** Attempts that fail one after the other with these, then work. */
function attempts(...failures: unknown[]) {
  const pauses: number[] = []
  const { signal, abort } = controller()
  let made = 0
  const { client: link } = linkPair()
  const coming = reconnect({
    async attempt() {
      const failure = failures[made++]
      if (failure !== undefined) throw failure
      return { link, protocolVersion: "1.29.0" }
    },
    pause: async (ms) => void pauses.push(ms),
    signal,
  })
  return { coming, pauses, abort, made: () => made, link }
}

function controller() {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort(new Error("no longer needed")) }
}

const refusal = (status: number, reason: string) =>
  statusError("open a session", status, JSON.stringify({ kind: "Status", code: status, reason, message: reason }))

test("the first attempt is made at once", async () => {
  const { coming, pauses, link } = attempts()
  expect((await coming).link).toBe(link)
  expect(pauses).toEqual([])
})

test("what may pass is tried again: no server, no replica, an API that is not there yet", async () => {
  const { coming, pauses, made } = attempts(
    new AppError("kube-unreachable", "connection refused"),
    refusal(503, "ServiceUnavailable"),
    refusal(404, "NotFound"),
  )
  await coming
  expect(pauses).toEqual([1_000, 2_000, 4_000])
  expect(made()).toBe(4)
})

test("ten repetitions without success are the end, with the last reason", async () => {
  const { coming, pauses, made } = attempts(...Array.from({ length: 20 }, (_, i) => new Error(`attempt ${i}`)))
  await expect(coming).rejects.toThrow("attempt 10")
  expect(made()).toBe(11)
  expect(pauses.reduce((sum, ms) => sum + ms)).toBe(63_000)
})

test("a session that is gone for good is not asked for again; other 410s are", async () => {
  const gone = sessionGone(refusal(410, "ReconnectNotPossible"))
  expect(gone?.code).toBe("session-gone")
  expect(sessionGone(refusal(410, "Gone"))).toBeUndefined()
  expect(sessionGone(refusal(503, "ReconnectNotPossible"))).toBeUndefined()
  const { coming, made } = attempts(gone)
  await expect(coming).rejects.toThrow("ReconnectNotPossible")
  expect(made()).toBe(1)
})

test("nobody reconnects for a session that has ended", async () => {
  const { coming, abort, made } = attempts(new Error("first"), new Error("second"))
  abort()
  await expect(coming).rejects.toThrow("no longer needed")
  expect(made()).toBeLessThan(3)
})
