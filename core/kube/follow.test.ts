import { afterEach, expect, test } from "bun:test"
import { type SeenRequest, startFakeKube, statusAnswer } from "../../test/fakes/kube-server.ts"
import { type Logger, silentLogger } from "../log.ts"
import { type FollowedChange, follow } from "./follow.ts"
import { type Kube, openKube } from "./kube.ts"

interface Thing {
  metadata: { name: string; namespace?: string; resourceVersion?: string; managedFields?: unknown }
  size?: number
}

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

const path = "/apis/x/v1/things"
const thing = (name: string, resourceVersion: string, more: object = {}) => ({
  metadata: { name, resourceVersion, namespace: "shop", ...more },
})
const page = (version: string, items: object[], next?: string) => ({
  metadata: { resourceVersion: version, continue: next },
  items,
})
const events = (...told: [type: string, object: object][]) =>
  told.map(([type, object]) => JSON.stringify({ type, object })).join("\n")

/** A collection whose lists and watches are answered in turn; the last watch stays open. */
async function followed(lists: (object | Response)[], watches: (string | string[])[]) {
  const asked: Record<string, string>[] = []
  const answer = ({ query }: SeenRequest) => {
    asked.push(query)
    if (query["watch"] !== "true") return lists.shift() ?? statusAnswer(500, "InternalError", "no more lists")
    const pieces = [watches.shift() ?? []].flat()
    const isLast = watches.length === 0
    return new Response(
      new ReadableStream({
        async start(body) {
          for (const piece of pieces) {
            body.enqueue(new TextEncoder().encode(piece))
            await Bun.sleep(5)
          }
          if (!isLast) body.close()
        },
      }),
    )
  }
  const fake = startFakeKube({ routes: { [`GET ${path}`]: answer } })
  const end = new AbortController()
  undo.push(
    () => fake.stop(),
    () => end.abort(),
  )
  const told: { names: string[]; change?: FollowedChange<Thing>; version?: string }[] = []
  const warned: string[] = []
  const log = { ...silentLogger, warn: (message: string) => void warned.push(message) } as Logger
  await follow<Thing>({
    kube: openKube({ kubeconfig: fake.kubeconfig }),
    path,
    query: { labelSelector: "a=b" },
    signal: end.signal,
    log,
    onChange: (objects, change, version) => void told.push({ names: [...objects.keys()], change, version }),
  })
  const until = async (count: number) => {
    while (told.length < count) await Bun.sleep(2)
  }
  return { asked, told, warned, until, end }
}

test("all pages are there at once, then each change as it is told, in whatever pieces", async () => {
  const changes = events(
    ["ADDED", thing("c", "8")],
    ["MODIFIED", { ...thing("a", "9", { managedFields: ["x".repeat(100)] }), size: 2 }],
    ["BOOKMARK", thing("", "11")],
    ["DELETED", thing("b", "10")],
  )
  const pieces = [changes.slice(0, 40), changes.slice(40, 130), changes.slice(130)]
  const { asked, told, until } = await followed(
    [page("5", [thing("a", "1")], "more"), page("7", [thing("b", "2")])],
    [[...pieces, "\n"]],
  )
  expect(told).toEqual([{ names: ["shop/a", "shop/b"], change: undefined, version: "7" }])
  await until(4)
  expect(told.slice(1).map(({ names }) => names)).toEqual([
    ["shop/a", "shop/b", "shop/c"],
    ["shop/a", "shop/b", "shop/c"],
    ["shop/a", "shop/c"],
  ])
  expect(told.slice(1).map(({ change }) => change)).toEqual([
    { before: undefined, object: thing("c", "8") },
    { before: thing("a", "1"), object: { ...thing("a", "9"), size: 2 } },
    { before: thing("b", "2"), object: thing("b", "10") },
  ])
  expect(asked).toMatchObject([
    { labelSelector: "a=b", limit: "500" },
    { labelSelector: "a=b", limit: "500", continue: "more" },
    { labelSelector: "a=b", watch: "true", resourceVersion: "7", allowWatchBookmarks: "true" },
  ])
})

test("a watch that ends goes on from the last version told, a bookmark's too", async () => {
  const { asked, told, until } = await followed(
    [page("7", [])],
    [
      `${events(["ADDED", thing("a", "8")], ["BOOKMARK", thing("", "20")])}\n`,
      `${events(["ADDED", thing("b", "21")])}\n`,
    ],
  )
  await until(3)
  expect(told.at(-1)?.names).toEqual(["shop/a", "shop/b"])
  expect(asked.map((query) => query["resourceVersion"])).toEqual([undefined as never, "7", "20"])
})

test("after a version that is too old all is listed again, without a warning", async () => {
  const gone = events(["ERROR", { kind: "Status", code: 410, message: "too old resource version" }])
  const { told, warned, until } = await followed(
    [page("7", [thing("a", "1"), thing("b", "2")]), page("30", [thing("b", "2")])],
    [`${gone}\n`, `${events(["ADDED", thing("c", "31")])}\n`],
  )
  await until(3)
  expect(told.slice(1)).toMatchObject([
    { names: ["shop/b"], version: "30" },
    { names: ["shop/b", "shop/c"], change: { object: thing("c", "31") } },
  ])
  expect(told[1]?.change).toBeUndefined()
  expect(warned).toEqual([])
})

test("a failure is warned of and tried again, and everything is known in the end", async () => {
  const { told, warned, until } = await followed(
    [page("7", [thing("a", "1")]), statusAnswer(500, "InternalError", "no"), page("40", [])],
    ["this is no JSON\n", ""],
  )
  await until(2)
  expect(told.at(-1)).toEqual({ names: [], change: undefined, version: "40" })
  expect(warned).toHaveLength(2)
})

test("what the first list is refused with is told, and nothing is followed", async () => {
  await expect(followed([statusAnswer(403, "Forbidden", "no")], [])).rejects.toMatchObject({ code: "kube-forbidden" })
})

test("nothing is told any more once it is over", async () => {
  const { told, asked, warned, end } = await followed([page("7", [])], [""])
  while (asked.length < 2) await Bun.sleep(2)
  end.abort()
  await Bun.sleep(150)
  expect([told.length, asked.length, warned]).toEqual([1, 2, []])
})

test("a watch that says nothing for too long is gone on with from where it stood, one that says something is not", async () => {
  const asked: unknown[] = []
  const names: string[] = []
  const bookmark = { type: "BOOKMARK", object: { metadata: { name: "", resourceVersion: "7" } } }
  const kube = {
    request: async () => page("5", []),
    async *watch(_path: string, { query, signal }: { query: { resourceVersion: string }; signal: AbortSignal }) {
      asked.push(query.resourceVersion)
      if (asked.length > 1) yield { type: "ADDED", object: thing("a", "8") }
      else
        for (let i = 0; i < 6; i++) {
          await Bun.sleep(30)
          yield bookmark
        }
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
    },
  } as unknown as Kube
  const end = new AbortController()
  undo.push(() => end.abort())
  const onChange = (things: ReadonlyMap<string, Thing>) => {
    names.splice(0, names.length, ...things.keys())
  }
  const began = performance.now()
  await follow<Thing>({ kube, path, signal: end.signal, log: silentLogger, silenceMs: 100, onChange })
  while (names.length === 0) await Bun.sleep(5)
  expect(performance.now() - began).toBeGreaterThan(250)
  expect([names, asked]).toEqual([["shop/a"], ["5", "7"]])
})
