import { afterEach, expect, test } from "bun:test"
import { type Route, startFakeKube } from "../../test/fakes/kube-server.ts"
import { openKube } from "./kube.ts"

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

function cluster(routes: Record<string, Route>) {
  const fake = startFakeKube({ routes })
  undo.push(() => fake.stop())
  return { fake, kube: openKube({ kubeconfig: fake.kubeconfig }) }
}

const answerAfter =
  (ms: number): Route =>
  async () => {
    await Bun.sleep(ms)
    return { ok: 1 }
  }

test("a request has a time, which may be none, and whoever gives it up is given his own reason", async () => {
  const { kube } = cluster({ "GET /slow": answerAfter(150) })
  await expect(kube.request("GET", "/slow", { timeoutMs: 30, what: "try" })).rejects.toMatchObject({
    code: "kube-timeout",
    message: expect.stringMatching(/^Cannot try: https:.* did not answer in time$/),
  })
  expect(await kube.request<object>("GET", "/slow", { timeoutMs: 0 })).toEqual({ ok: 1 })
  const attempt = new AbortController()
  setTimeout(() => attempt.abort(new Error("changed my mind")), 30)
  await expect(kube.request("GET", "/slow", { signal: attempt.signal })).rejects.toThrow(/^changed my mind$/)
})

test("a request is asked with what was said, and only that", async () => {
  const { fake, kube } = cluster({ "PATCH /x": () => ({}), "GET /x": () => ({}) })
  const headers = { "X-A": "1" }
  await kube.request("PATCH", "/x", { body: { a: "ü" }, contentType: "application/merge-patch+json", headers })
  await kube.request("GET", "/x", { query: { a: "b&c", limit: 5, none: undefined, no: false } })
  expect(fake.requests[0]).toMatchObject({
    body: { a: "ü" },
    headers: { "content-type": "application/merge-patch+json", "x-a": "1", accept: "application/json" },
  })
  expect(fake.requests[1]).toMatchObject({ body: undefined, query: { a: "b&c", limit: "5", no: "false" } })
  expect(fake.requests[1]?.query).not.toHaveProperty("none")
  expect(fake.requests[1]?.headers).not.toHaveProperty("content-type")
})

test.each<[string, () => Response, string]>([
  ["no JSON", () => new Response("<html>"), "kube-bad-answer"],
  ["a way elsewhere", () => Response.redirect("https://127.0.0.1:1/"), "kube-unreachable"],
])("an answer that is %s is not taken", async (_, answer, code) => {
  const { kube } = cluster({ "GET /x": answer })
  await expect(kube.request("GET", "/x")).rejects.toMatchObject({ code })
})

test("a list is asked for page by page until there are no more", async () => {
  const pages = [
    { items: [1, 2], metadata: { continue: "next" } },
    { items: null, metadata: { continue: "last" } },
    { items: [3], metadata: { continue: "" } },
  ]
  const { fake, kube } = cluster({ "GET /x": () => pages.shift() })
  expect(await kube.list<number>("/x", { query: { a: "b" } })).toEqual([1, 2, 3])
  expect(fake.requests.map(({ query }) => query)).toEqual([
    { a: "b", limit: "500" },
    { a: "b", limit: "500", continue: "next" },
    { a: "b", limit: "500", continue: "last" },
  ])
})

test("a watch passes on what it is told, skips empty lines, and ends with the server's error", async () => {
  const told = [
    '{"type":"ADDED","object":{"a":1}}',
    "",
    '{"type":"ERROR","object":{"code":410,"message":"too old"}}',
    '{"type":"ADDED","object":{"a":2}}',
  ]
  const { fake, kube } = cluster({ "GET /x": () => new Response(told.join("\n")) })
  const seen: unknown[] = []
  const watching = (async () => {
    for await (const event of kube.watch("/x", { query: { a: "b" } })) seen.push(event)
  })()
  await expect(watching).rejects.toMatchObject({ code: "kube-expired", message: "Cannot watch /x: too old" })
  expect(seen).toEqual([{ type: "ADDED", object: { a: 1 } }])
  expect(fake.requests[0]?.query).toEqual({ a: "b", watch: "true" })
})

test("an error in a watch that says nothing is a failure", async () => {
  const { kube } = cluster({ "GET /x": () => new Response('{"type":"ERROR","object":{}}\n') })
  await expect(kube.watch("/x").next()).rejects.toMatchObject({ code: "kube-failed", status: 500 })
})

test("lines of a log come as they are", async () => {
  const { kube } = cluster({ "GET /log": () => new Response("one\n\ntwo") })
  const lines: string[] = []
  for await (const line of kube.lines("/log")) lines.push(line)
  expect(lines).toEqual(["one", "", "two"])
})
