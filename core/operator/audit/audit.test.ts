import { afterAll, beforeAll, expect, jest, test } from "bun:test"
import type { Plugins } from "../../host.ts"
import { KubeError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import { createLogger, silentLogger } from "../../log.ts"
import type { AuditEvent } from "../../session.ts"
import { Audit } from "./audit.ts"

beforeAll(() => void jest.useFakeTimers())
afterAll(() => void jest.useRealTimers())

/** What was answered by now has been heard. */
const settled = async () => {
  for (let i = 0; i < 10; i++) await undefined
}
/** Trouble is told of by then. */
const later = () => jest.advanceTimersByTime(10_000)

/** An audit with an API server that takes Events when it is told how to answer, and what all three that hear of it got. */
function listening() {
  const open: { path: string; body: { message: string }; answer: PromiseWithResolvers<object> }[] = []
  const heard: AuditEvent[] = []
  const lines: string[] = []
  const trouble: object[] = []
  const kube = {
    request(_method: string, path: string, { body }: { body: { message: string } }) {
      const answer = Promise.withResolvers<object>()
      open.push({ path, body, answer })
      return answer.promise
    },
  } as unknown as Kube
  const audit = new Audit({
    kube,
    auditLog: createLogger({ write: (line) => void lines.push(line) }),
    plugins: { notify: (_hook: string, event: AuditEvent) => heard.push(event) } as unknown as Plugins<"operator">,
    replica: "operator-0",
    log: { ...silentLogger, warn: (_message, fields) => void trouble.push(fields ?? {}) },
  })
  return { audit, open, heard, lines, trouble }
}

const event = (reason = "why", namespace = "shop"): AuditEvent => ({
  kind: "session-denied",
  at: new Date(),
  identity: { user: "ann", groups: ["dev"], extra: { token: ["s3cret"] } },
  target: "deployment/web",
  namespace,
  reason,
})

test("what happens is a line, an Event about the target, and for the plugins; a caller's extra is for these alone", async () => {
  const { audit, open, heard, lines } = listening()
  audit.record(event())
  expect(lines.join()).toContain('"user":"ann"')
  expect(lines.join()).not.toContain("s3cret")
  expect(open).toMatchObject([
    {
      path: "/api/v1/namespaces/shop/events",
      body: { message: "user ann; target deployment/web; why", involvedObject: { kind: "Deployment", name: "web" } },
    },
  ])
  expect(heard[0]?.identity.extra).toEqual({ token: ["s3cret"] })
})

test("an API server that does not answer is asked 64 things at most, and again when it answers; no line is left out", async () => {
  const { audit, open, lines, heard, trouble } = listening()
  for (let i = 0; i < 100; i++) audit.record(event(`reason ${i}`))
  expect([open.length, lines.length, heard.length]).toEqual([64, 100, 100])
  later()
  expect(trouble).toEqual([{ omitted: 36, failed: 0, lastError: undefined }])
  for (const { answer } of open.splice(0)) answer.resolve({})
  await settled()
  audit.record(event("afterwards"))
  expect(open.map(({ body }) => body.message)).toEqual(["user ann; target deployment/web; afterwards"])
})

test("Events that fail are told of, except those of a namespace that is being deleted", async () => {
  const { audit, open, trouble } = listening()
  const refusal = (status: number, message: string) => new KubeError("kube-forbidden", message, status, {})
  for (const error of [
    refusal(404, "namespaces not found"),
    refusal(403, "unable to create new content in namespace shop because it is being terminated"),
    refusal(403, "no role allows it"),
    new Error("connection lost"),
  ]) {
    audit.record(event())
    open.at(-1)!.answer.reject(error)
    await settled()
  }
  later()
  expect(trouble).toEqual([{ omitted: 0, failed: 2, lastError: "connection lost" }])
})
