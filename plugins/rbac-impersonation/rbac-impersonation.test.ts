import { afterAll, describe, expect, test } from "bun:test"
import http from "node:http"
import type { AddressInfo } from "node:net"
import { KubeConfig } from "@kubernetes/client-node"
import { kubeOf } from "../../core/kube/kube.ts"
import type { Identity } from "../../core/session.ts"
import { afterReview } from "./after-review.ts"
import { asCaller } from "./as-caller.ts"
import plugin from "./plugin.ts"
import { resourceAttributes } from "./question.ts"

interface Seen {
  method: string
  url: string
  rawHeaders: string[]
  body: string
}

/** An API server that records what it is asked and answers as `respond` says. */
const seen: Seen[] = []
let respond: (request: Seen) => { status: number; body: unknown } = () => ({ status: 200, body: {} })
const server = http.createServer((request, response) => {
  let body = ""
  request.on("data", (chunk) => (body += chunk))
  request.on("end", () => {
    const one = { method: request.method!, url: request.url!, rawHeaders: request.rawHeaders, body }
    seen.push(one)
    const answer = respond(one)
    response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body))
  })
})
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
afterAll(() => server.close())

const config = new KubeConfig()
config.loadFromOptions({
  clusters: [{ name: "c", skipTLSVerify: true, server: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }],
  users: [{ name: "operator", token: "operators-token" }],
  contexts: [{ name: "c", cluster: "c", user: "operator" }],
  currentContext: "c",
})
const kube = kubeOf({ config })

const ann: Identity = {
  user: "änn@example.org",
  uid: "u-1",
  groups: ["team a", "team,b", "system:authenticated"],
  extra: { "authentication.kubernetes.io/credential-id": ["X509SHA256=1"], scopes: ["one", "two"], "ключ%": ["v"] },
}
const path = "/apis/apps/v1/namespaces/shop/deployments/api"

function lines(name: RegExp): [string, string][] {
  const { rawHeaders } = seen.at(-1)!
  const pairs = rawHeaders.flatMap((header, i) =>
    i % 2 === 0 ? [[header, rawHeaders[i + 1]!] as [string, string]] : [],
  )
  return pairs.filter(([header]) => name.test(header)).sort()
}

describe("mode impersonate", () => {
  test("the API server sees exactly the caller: one line for each value, nothing joined", async () => {
    await asCaller(kube, ann).request("GET", path)
    const utf8 = (text: string) => Buffer.from(text).toString("latin1")
    expect(lines(/^impersonate-/i)).toEqual([
      ["Impersonate-Extra-%D0%BA%D0%BB%D1%8E%D1%87%25", "v"],
      ["Impersonate-Extra-authentication.kubernetes.io%2Fcredential-id", "X509SHA256=1"],
      ["Impersonate-Extra-scopes", "one"],
      ["Impersonate-Extra-scopes", "two"],
      ["Impersonate-Group", "system:authenticated"],
      ["Impersonate-Group", "team a"],
      ["Impersonate-Group", "team,b"],
      ["Impersonate-Uid", "u-1"],
      ["Impersonate-User", utf8("änn@example.org")],
    ])
    expect(lines(/^authorization$/i)).toEqual([["Authorization", "Bearer operators-token"]])
  })

  test("what a caller does not have is not made up", async () => {
    await asCaller(kube, { user: "ben", groups: [], extra: { scopes: [] } }).request("GET", path)
    expect(lines(/^impersonate-/i)).toEqual([["Impersonate-User", "ben"]])
  })

  test("lists are asked as the caller too", async () => {
    respond = () => ({ status: 200, body: { items: [{ a: 1 }] } })
    expect(await asCaller(kube, ann).list<{ a: number }>("/api/v1/namespaces/shop/pods")).toEqual([{ a: 1 }])
    expect(lines(/^impersonate-user$/i)).toHaveLength(1)
  })

  test("a refusal ends the request: nothing is asked again as the operator", async () => {
    seen.length = 0
    respond = () => ({ status: 403, body: { kind: "Status", code: 403, message: "no" } })
    await expect(asCaller(kube, ann).request("GET", path)).rejects.toMatchObject({ code: "kube-forbidden" })
    respond = () => ({ status: 200, body: { ok: true } })
    expect(await asCaller(kube, ann).request<unknown>("GET", path)).toEqual({ ok: true })
    expect(seen).toHaveLength(2)
  })

  test("a value that could smuggle a header is refused before anything is sent", async () => {
    seen.length = 0
    const forged = { ...ann, groups: ["x\r\nImpersonate-Group: system:masters"] }
    await expect(asCaller(kube, forged).request("GET", path)).rejects.toBeDefined()
    expect(seen).toHaveLength(0)
  })
})

describe("mode review", () => {
  const answering = (status: object) => {
    seen.length = 0
    respond = ({ method }) => ({
      status: method === "POST" ? 201 : 200,
      body: method === "POST" ? { status } : { ok: 1 },
    })
  }

  test("the review names the caller and the question, then the request goes out as the operator", async () => {
    answering({ allowed: true })
    expect(await afterReview(kube, ann).request<unknown>("GET", path)).toEqual({ ok: 1 })
    expect(JSON.parse(seen[0]!.body).spec).toEqual({
      user: ann.user,
      uid: ann.uid,
      groups: ann.groups,
      extra: ann.extra,
      resourceAttributes: {
        group: "apps",
        version: "v1",
        resource: "deployments",
        namespace: "shop",
        name: "api",
        verb: "get",
      },
    })
    expect(seen).toHaveLength(2)
  })

  test.each([
    ["not allowed", { allowed: false }],
    ["denied, whatever else it says", { allowed: true, denied: true }],
    ["without an answer", {}],
  ])("a review that is %s ends the request before it is sent", async (_what, status) => {
    answering(status)
    await expect(afterReview(kube, ann).request("GET", path)).rejects.toMatchObject({ code: "kube-forbidden" })
    expect(seen.map(({ method }) => method)).toEqual(["POST"])
    await expect(afterReview(kube, ann).list("/api/v1/pods")).rejects.toMatchObject({ code: "kube-forbidden" })
    expect(seen.map(({ method }) => method)).toEqual(["POST", "POST"])
  })

  test("who is refused reads what of, and why", async () => {
    const refusal = (asked: string) =>
      afterReview(kube, ann)
        .request("GET", asked)
        .then(
          () => "",
          ({ message }: Error) => message,
        )
    answering({ allowed: false })
    const user = 'User "änn@example.org" may not'
    expect(await refusal(path)).toBe(`${user} get deployments "api" in namespace "shop": no role allows it`)
    expect(await refusal("/api/v1/pods")).toBe(`${user} list pods: no role allows it`)
    answering({ allowed: false, reason: "out of hours" })
    expect(await refusal("/api/v1/nodes/n")).toBe(`${user} get nodes "n": out of hours`)
    answering({ allowed: true })
    expect(await refusal(path)).toBe("")
  })

  test("a review that cannot be asked ends the request too", async () => {
    seen.length = 0
    respond = () => ({ status: 500, body: {} })
    await expect(afterReview(kube, ann).request("GET", path)).rejects.toBeDefined()
    expect(seen.map(({ method }) => method)).toEqual(["POST"])
  })
})

test.each([
  ["GET", "/api/v1/namespaces/shop/pods", {}, { group: "", resource: "pods", namespace: "shop", verb: "list" }],
  ["GET", "/api/v1/pods", { watch: true }, { group: "", resource: "pods", verb: "watch" }],
  ["GET", "/api/v1/namespaces/shop", {}, { group: "", resource: "namespaces", name: "shop", verb: "get" }],
  ["GET", "/api/v1/nodes/n/proxy", {}, { resource: "nodes", subresource: "proxy", name: "n", namespace: undefined }],
  ["GET", "/api/v1/namespaces/a/pods/p/log", {}, { resource: "pods", subresource: "log", name: "p", verb: "get" }],
  ["DELETE", "/apis/batch/v1/namespaces/a/jobs", {}, { group: "batch", resource: "jobs", verb: "deletecollection" }],
  ["PATCH", "/apis/batch/v1/namespaces/a/jobs/j", {}, { group: "batch", name: "j", verb: "patch" }],
] as const)("%s %s is put to RBAC as what it is", (method, path, query, expected) => {
  expect(resourceAttributes(method, path, query)).toMatchObject(expected)
})

test.each([
  "/version",
  "/api/v1",
  "/apis/apps/v1",
  "/openapi/v3/apis/apps/v1",
  "/api/v1/namespaces/shop/pods/..",
  "/api/v1/namespaces/shop/pods/%2e%2E/secrets/s",
  "/api/v1/namespaces/./pods/p",
])("%s is no resource, so nobody is let through to it", async (place) => {
  seen.length = 0
  respond = () => ({ status: 201, body: { status: { allowed: true } } })
  expect(resourceAttributes("GET", place)).toBeUndefined()
  await expect(afterReview(kube, ann).request("GET", place)).rejects.toMatchObject({ code: "kube-forbidden" })
  expect(seen).toEqual([])
  expect(resourceAttributes("GET", "/api/v1/namespaces/shop/pods/a..b")).toMatchObject({ name: "a..b" })
})

test.each([
  ["impersonate", asCaller],
  ["review", afterReview],
])("mode %s: what would go out as the operator is not there", (_mode, access) => {
  const caller = access(kube, ann)
  for (const ask of [
    () => caller.watch(path),
    () => caller.lines(path),
    () => caller.access(),
    () => caller.use(async () => {}),
  ])
    expect(ask).toThrow("requests only")
})

test.each([
  ["impersonate", ["GET"]],
  ["review", ["POST", "GET"]],
] as const)("the setting %s decides how", async (mode, methods) => {
  seen.length = 0
  respond = () => ({ status: 200, body: { status: { allowed: true } } })
  const access = plugin.operator!({ config: { mode } } as never).provideCallerAccess!()
  await access(kube, ann).request("GET", path)
  expect(seen.map(({ method }) => method)).toEqual([...methods])
})

test.each([
  ["GET", "/api/v1/pods", { watch: "true" }, "watch"],
  ["GET", "/api/v1/pods", { watch: false }, "list"],
  ["POST", "/api/v1/namespaces/a/pods", {}, "create"],
  ["PUT", "/api/v1/namespaces/a/pods/p", {}, "update"],
  ["DELETE", "/api/v1/namespaces/a/pods/p", {}, "delete"],
] as const)("%s %s %j is the verb %s", (method, place, query, verb) => {
  expect(resourceAttributes(method, place, query)?.verb).toBe(verb)
})
