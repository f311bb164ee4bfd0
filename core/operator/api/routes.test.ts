import { beforeEach, describe, expect, test } from "bun:test"
import * as v from "valibot"
import { operator as operatorSchema } from "../../../test/e2e/peer/schemas.ts"
import { listedSession, toldSessions } from "../../../test/fakes/told-sessions.ts"
import { silentLogger } from "../../log.ts"
import type { PortLock } from "../locks/port-locks.ts"
import type { Operator } from "../operator.ts"
import type { ListedSession } from "../session/registry.ts"
import { age } from "./age.ts"
import { createApp } from "./app.ts"

/* Routes without a cluster: what they answer, and what they leave alone. */

const root = "/apis/operator.metalbear.co/v1"
const identity = { user: "ann", groups: [], extra: {} }

const lock: PortLock = { sessionId: "A", targetKey: "shop/deployment/web", port: 80, mode: "steal", pods: [] }

let sessions: ListedSession[]
let issued: string[]
/** Of the certificates that were issued. */
let kinds: string[]
let lines: string[]

const app = createApp({
  settings: { namespace: "mirrord", organization: "podside" },
  log: { ...silentLogger, info: (message: string) => lines.push(message) },
  plugins: { add() {} },
  certificates: {
    fingerprint: "B".repeat(43),
    issue(request: string, kind: string) {
      if (!request.startsWith("-----BEGIN")) throw new Error("no request")
      issued.push(request)
      kinds.push(kind)
      return { pem: "PEM", kind }
    },
  },
  sessions: {
    list: () => sessions,
    byText: (text: string) => sessions.find(({ info }) => info.id === text),
    async close({ number }: ListedSession) {
      sessions = sessions.filter((one) => one.number !== number)
    },
    async closeInactive({ number }: ListedSession) {
      sessions = sessions.filter((one) => one.number !== number || one.connected)
    },
  },
  changes: toldSessions().changes,
  locks: {
    list: () => [
      lock,
      { ...lock, port: 81, filter: "header x: y" },
      { ...lock, port: 82, targetKey: "shop/deployment/other" },
      { ...lock, port: 83, targetKey: "bank/deployment/web" },
    ],
  },
} as unknown as Operator)

beforeEach(() => {
  const elsewhere = { ...listedSession(12n).info, namespace: "bank" }
  sessions = [
    listedSession(10n),
    listedSession(11n, { connected: false, key: "k" }),
    listedSession(12n, { connected: false, key: "k,1", info: elsewhere }),
  ]
  issued = []
  kinds = []
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
    expect(status?.sessions.map(({ id }) => id)).toEqual(["A", "B", "C"])
  })
})

describe("showing sessions", () => {
  test.each([
    ["all", "/sessions", ["A", "B", "C"]],
    ["those of a namespace", "/namespaces/shop/sessions", ["A", "B"]],
    ["those of a namespace without any", "/namespaces/empty/sessions", []],
    ["one of another namespace by its name", "/namespaces/bank/sessions?fieldSelector=metadata.name%3DB", []],
    ["those with a key, which clients escape", "/sessions?fieldSelector=spec.session.key%3Dk%5C%2C1", ["C"]],
  ])("%s", async (_what, path, ids) => {
    const { status, body } = await ask("GET", path)
    expect(status).toBe(200)
    expect((body["items"] as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name)).toEqual(ids)
  })

  test("a session is in its own namespace and in no other", async () => {
    expect((await ask("GET", "/namespaces/bank/sessions/C")).body).toMatchObject({ metadata: { name: "C" } })
    expect((await ask("GET", "/sessions/C")).status).toBe(200)
    expect((await ask("GET", "/namespaces/shop/sessions/C")).status).toBe(404)
    expect((await ask("GET", "/sessions/D")).status).toBe(404)
  })
})

describe("ending sessions", () => {
  const dryRun = JSON.stringify({ kind: "DeleteOptions", apiVersion: "v1", dryRun: ["All"] })
  const left = () => sessions.map(({ info }) => info.id)

  test.each([
    ["one", "/sessions/A", ["B", "C"]],
    ["one of a namespace", "/namespaces/shop/sessions/A", ["B", "C"]],
    ["those nobody is connected to", "/sessions/inactive", ["A"]],
    ["those of a namespace nobody is connected to", "/namespaces/shop/sessions/inactive", ["A", "C"]],
    ["all", "/sessions", []],
    ["all of a namespace", "/namespaces/shop/sessions", ["C"]],
  ])("%s: a dry run ends none, the same request without it does", async (_what, path, rest) => {
    for (const [query, body] of [["?dryRun=All"], ["?", dryRun]] as const) {
      expect(await ask("DELETE", `${path}${query}`, body)).toMatchObject({ status: 200, body: { status: "Success" } })
      expect(left()).toEqual(["A", "B", "C"])
    }
    expect(await ask("DELETE", `${path}?`, "{}")).toMatchObject({ status: 200, body: { status: "Success" } })
    expect(left()).toEqual(rest)
  })

  test.each([
    ["by a field", "?fieldSelector=spec.session.key=k", ["A", "C"]],
    ["by a name", "?fieldSelector=metadata.name!=B", ["B"]],
    ["by labels they do not have", "?labelSelector=app=web", ["A", "B", "C"]],
    ["by labels they do not have, the other way round", "?labelSelector=app!=web", []],
    ["in another namespace", "?fieldSelector=metadata.namespace=bank", ["A", "B"]],
  ])("only those that are selected: %s", async (_how, query, rest) => {
    expect((await ask("DELETE", `/sessions${query}`)).status).toBe(200)
    expect(left()).toEqual(rest)
  })

  test("what cannot be selected by ends none", async () => {
    expect((await ask("DELETE", "/sessions?fieldSelector=spec.session.user=ann")).status).toBe(400)
    expect((await ask("DELETE", "/sessions?labelSelector=app=w=b")).status).toBe(400)
    expect(left()).toEqual(["A", "B", "C"])
  })

  test("one is ended when it is still the one that was meant", async () => {
    const meant = (uid: string) => JSON.stringify({ preconditions: { uid } })
    expect(await ask("DELETE", "/sessions/A", meant("uid-9"))).toMatchObject({ status: 409, body: { code: 409 } })
    expect(left()).toEqual(["A", "B", "C"])
    expect((await ask("DELETE", "/sessions/A", meant("uid-10"))).status).toBe(200)
    expect(left()).toEqual(["B", "C"])
  })

  test("one of another namespace is not there to be ended", async () => {
    expect((await ask("DELETE", "/namespaces/shop/sessions/C?", "{}")).status).toBe(404)
    expect(left()).toEqual(["A", "B", "C"])
  })

  test("no body is as good as empty options; what cannot be read ends none", async () => {
    expect((await ask("DELETE", "/sessions?", "{dryRun")).status).toBe(400)
    expect((await ask("DELETE", "/sessions?", '{"dryRun":"All"}')).status).toBe(400)
    expect(left()).toEqual(["A", "B", "C"])
    expect((await ask("DELETE", "/sessions?")).status).toBe(200)
    expect(left()).toEqual([])
  })
})

describe("certificates", () => {
  const pem = "-----BEGIN CERTIFICATE REQUEST-----\n"
  const path = "/mirrordclusteroperatorusercredentials"
  const post = (spec: unknown, more: object = {}) => ask("POST", path, JSON.stringify({ ...more, spec }))

  test.each([
    ["of a pipeline", { csr: pem, kind: "ci" }, "ci"],
    ["of a person", { csr: pem, kind: "regular" }, "regular"],
    ["of what is not known here", { csr: pem, kind: "robot" }, "regular"],
  ])("one is issued for what it is said to be for: %s", async (_what, spec, kind) => {
    expect(await post(spec, { metadata: { generateName: "mine-" } })).toMatchObject({
      status: 201,
      body: { metadata: { name: expect.stringMatching(/^mine-/) }, spec, status: { certificate: "PEM" } },
    })
    expect([issued, kinds, lines]).toEqual([[pem], [kind], ["client certificate issued"]])
  })

  test.each([
    ["no specification", undefined],
    ["no request", { kind: "ci" }],
    ["a request that is no text", { csr: 1 }],
    ["no kind", { csr: pem }],
  ])("with %s none is", async (_what, spec) => {
    expect((await post(spec)).status).toBe(400)
    expect([issued, lines]).toEqual([[], []])
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

test("port locks of a target are shown, as the sessions that hold them show them, and no other target's", async () => {
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

test("what controllers ask for is metadata", async () => {
  const accept = (kind: string) =>
    ["application/vnd.kubernetes.protobuf", "application/json"].map((type) => `${type};as=${kind};g=meta.k8s.io;v=v1`)
  const list = await ask("GET", "/sessions", undefined, accept("PartialObjectMetadataList").join(","))
  expect(list.body).toMatchObject({ kind: "PartialObjectMetadataList", apiVersion: "meta.k8s.io/v1" })
  const one = await ask("GET", "/sessions/A", undefined, accept("PartialObjectMetadata").join(","))
  const metadata = { name: "A", namespace: "shop", uid: "uid-10", resourceVersion: "1" }
  expect(one.body).toEqual({
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: { ...metadata, creationTimestamp: expect.any(String) },
  })
})

test.each([
  ["GET", "/targets?watch=true", 405, /watch is not supported on resources of kind "targets.operator.metalbear.co"/],
  ["GET", "/namespaces/shop/targets?watch", 405, /watch is not supported/],
  ["GET", "/mirrordoperators?watch=1", 405, /watch is not supported/],
  ["GET", "/namespaces/shop/copytargets?watch=true", 405, /watch is not supported/],
  ["PATCH", "/namespaces/shop/sessions/A", 405, /does not allow this method/],
  ["PUT", "/mirrordoperators/operator", 405, /does not allow this method/],
  ["POST", "/sessions", 405, /does not allow this method/],
  ["GET", "/mirrordclusteroperatorusercredentials", 405, /does not allow this method/],
  ["GET", "/gadgets", 404, /could not find/],
  ["GET", "/namespaces/shop/mirrordoperators", 404, /could not find/],
  ["GET", "/namespaces/shop/targets?fieldSelector=spec.target=web", 400, /metadata.name, metadata.namespace/],
  ["GET", "/namespaces/shop/targets?labelSelector=a=b=c", 400, /label selector/],
  ["GET", "/sessions?resourceVersion=abc", 400, /resourceVersion/],
  ["GET", "/sessions?watch=true&timeoutSeconds=-1", 400, /timeoutSeconds/],
  ["GET", "/sessions?watch=true&sendInitialEvents=true", 400, /NotOlderThan/],
])("%s %s is refused with %d", async (method, path, status, message) => {
  const answer = await ask(method, path)
  const reason = { 400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed" }[status]
  const body = { kind: "Status", code: status, reason, message: expect.stringMatching(message) }
  expect(answer).toEqual({ status, body: expect.objectContaining(body) })
})

test.each([
  ["/mirrordoperators?watch=false", 1],
  ["/mirrordoperators?watch=False&watch=true", 1],
  ["/sessions?watch=0&fieldSelector=metadata.name=A", 1],
  ["/mirrordoperators?fieldSelector=metadata.name=operator&labelSelector=podside.dev/version", 1],
  ["/mirrordoperators?fieldSelector=metadata.name=other", 0],
  ["/mirrordoperators?labelSelector=app=web", 0],
])("GET %s lists %d", async (path, count) => {
  expect((await ask("GET", path)).body["items"]).toHaveLength(count)
})
