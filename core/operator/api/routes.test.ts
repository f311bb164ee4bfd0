import { beforeEach, describe, expect, test } from "bun:test"
import * as v from "valibot"
import { operator as operatorSchema } from "../../../test/e2e/peer/schemas.ts"
import { silentLogger } from "../../log.ts"
import type { PortLock } from "../locks/port-locks.ts"
import type { Operator } from "../operator.ts"
import { noPorts } from "../session/live-session.ts"
import type { ListedSession } from "../session/registry.ts"
import { age } from "./age.ts"
import { createApp } from "./app.ts"

/* Routes without a cluster: what they answer, and what they leave alone. */

const root = "/apis/operator.metalbear.co/v1"
const identity = { user: "ann", groups: [], extra: {} }

const session = (number: bigint, connected: boolean): ListedSession => ({
  number,
  info: {
    id: number.toString(16).toUpperCase(),
    identity,
    target: { kind: "deployment", name: "web" },
    namespace: "shop",
    client: {},
    openedAt: new Date(Date.now() - 330_000),
  },
  userId: "A".repeat(43),
  key: undefined,
  headerFilter: undefined,
  ci: false,
  ports: noPorts,
  connected,
})
const lock: PortLock = { sessionId: "A", targetKey: "shop/deployment/web", port: 80, mode: "steal", pods: [] }

let sessions: ListedSession[]
let issued: string[]
let lines: string[]

const app = createApp({
  settings: { namespace: "mirrord", organization: "podside" },
  log: { ...silentLogger, info: (message: string) => lines.push(message) },
  plugins: { add() {} },
  certificates: {
    fingerprint: "B".repeat(43),
    issue(request: string) {
      if (!request.startsWith("-----BEGIN")) throw new Error("no request")
      issued.push(request)
      return "PEM"
    },
  },
  sessions: {
    list: () => sessions,
    byText: (text: string) => sessions.find(({ info }) => info.id === text),
    async close({ number }: ListedSession) {
      sessions = sessions.filter((one) => one.number !== number)
    },
  },
  locks: { list: () => [lock, { ...lock, port: 81, filter: "header x: y" }] },
} as unknown as Operator)

beforeEach(() => {
  sessions = [session(10n, true), session(11n, false)]
  issued = []
  lines = []
})

const ask = async (
  method: string,
  path: string,
  body?: string | ReadableStream<Uint8Array>,
  accept = "application/json",
) => {
  const answer = await app.request(`${root}${path}`, { method, body, headers: { accept } }, { identity })
  return { status: answer.status, body: (await answer.json()) as { [key: string]: unknown } }
}

describe("mirrordoperators/operator", () => {
  test("a 3.250 client reads it, and takes the operator for one of its own version", async () => {
    const { body } = await ask("GET", "/mirrordoperators/operator")
    const { spec, status } = v.parse(operatorSchema, body)
    // The client compares whole versions: with a build part this one would be newer than it, which it warns of.
    expect(spec.operator_version).toBe("3.250.0")
    expect(status?.sessions.map(({ id }) => id)).toEqual(["A", "B"])
  })
})

describe("ending sessions", () => {
  const dryRun = JSON.stringify({ kind: "DeleteOptions", apiVersion: "v1", dryRun: ["All"] })
  const left = () => sessions.map(({ info }) => info.id)

  test.each([
    ["one", "/sessions/A", ["B"]],
    ["those nobody is connected to", "/sessions/inactive", ["A"]],
    ["all", "/sessions", []],
    ["all of a namespace", "/namespaces/shop/sessions", []],
  ])("%s: a dry run ends none, the same request without it does", async (_what, path, rest) => {
    for (const [query, body] of [["?dryRun=All"], ["?", dryRun]] as const) {
      expect(await ask("DELETE", `${path}${query}`, body)).toMatchObject({ status: 200, body: { status: "Success" } })
      expect(left()).toEqual(["A", "B"])
    }
    expect(await ask("DELETE", `${path}?`, "{}")).toMatchObject({ status: 200, body: { status: "Success" } })
    expect(left()).toEqual(rest)
  })

  test("no body is as good as empty options; what cannot be read ends none", async () => {
    expect((await ask("DELETE", "/sessions?", "{dryRun")).status).toBe(400)
    expect((await ask("DELETE", "/sessions?", '{"dryRun":"All"}')).status).toBe(400)
    expect(left()).toEqual(["A", "B"])
    expect((await ask("DELETE", "/sessions?")).status).toBe(200)
    expect(left()).toEqual([])
  })
})

describe("certificates in the form of older clients", () => {
  const pem = "-----BEGIN CERTIFICATE REQUEST-----\r\n"
  const path = "/mirrordoperators/operator/certificate?"

  test.each([
    ["bare", pem],
    ["as a JSON string", JSON.stringify(pem)],
  ])("a request %s is answered with a JSON string", async (_how, body) => {
    expect(await ask("POST", path, body)).toEqual({ status: 200, body: "PEM" as never })
    expect([issued, lines]).toEqual([[pem], ["client certificate issued"]])
  })

  test("what is no request is not recorded as issued", async () => {
    expect((await ask("POST", path, "none")).status).toBe(500)
    expect(lines).toEqual([])
  })

  test("a body without end is read no further than the limit", async () => {
    let pulled = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1 << 14
        controller.enqueue(new Uint8Array(1 << 14))
      },
    })
    expect((await ask("POST", path, endless)).status).toBe(413)
    expect(pulled).toBeLessThan(1 << 20)
  })
})

test("port locks are shown as the sessions that hold them show them", async () => {
  const { body } = await ask("GET", "/namespaces/shop/targets/deployment.web/port-locks")
  expect(body["items"]).toEqual([
    { session: "A", port: 80, kind: "steal", filter: null },
    { session: "A", port: 81, kind: "steal-filtered", filter: "header x: y" },
  ])
})

test("a table of sessions tells how old they are, and has the objects when kubectl sorts by them", async () => {
  const rows = async (query: string) => {
    const { body } = await ask("GET", `/sessions${query}`, undefined, "application/json;as=Table;g=meta.k8s.io;v=v1")
    return body["rows"] as { cells: unknown[]; object: { kind: string; spec?: object } }[]
  }
  const [row] = await rows("")
  expect(row?.cells.at(-1)).toMatch(/^5m3\ds$/)
  expect(row?.object).toMatchObject({ kind: "PartialObjectMetadata", metadata: { name: "A", namespace: "shop" } })
  const [whole] = await rows("?includeObject=Object")
  expect(whole?.object).toMatchObject({ kind: "Session", spec: { session: { id: "A" } } })
})

test.each([
  [-5, "0s"],
  [119, "119s"],
  [120, "2m"],
  [330, "5m30s"],
  [3_600, "60m"],
  [5 * 3_600 + 60, "5h1m"],
  [47 * 3_600, "47h"],
  [50 * 3_600, "2d2h"],
  [9 * 86_400, "9d"],
  [800 * 86_400, "2y70d"],
])("%d seconds are %s", (seconds, text) => {
  const now = Date.parse("2026-11-30T12:00:00Z")
  expect(age(new Date(now - seconds * 1000).toISOString(), now)).toBe(text)
})
