import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { listedSession, toldSessions } from "../../../test/fakes/told-sessions.ts"
import { silentLogger } from "../../log.ts"
import type { Operator } from "../operator.ts"
import { keptChanges } from "../session/session-changes.ts"
import { createApp } from "./app.ts"
import { maxWatches, maxWatchesPerUser } from "./watches.ts"

/* Watches of sessions as clients have them: a list, then what changes after it. */

const root = "/apis/operator.metalbear.co/v1"
const table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

interface Event {
  type: string
  object: { kind: string; metadata: Record<string, unknown>; rows?: unknown[]; code?: number; [more: string]: unknown }
}

let told: ReturnType<typeof toldSessions>
let app: ReturnType<typeof createApp>
const open: { cancel(): Promise<void> }[] = []

beforeEach(() => {
  told = toldSessions()
  app = createApp({
    log: silentLogger,
    plugins: { add() {} },
    sessions: { list: () => told.list() },
    changes: told.changes,
    locks: { list: () => [] },
  } as unknown as Operator)
})

afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.cancel()))
})

const ask = (path: string, accept = "application/json", user = "ann") =>
  app.request(`${root}${path}`, { headers: { accept } }, { identity: { user, groups: [], extra: {} } })

async function watch(path: string, accept?: string, user?: string) {
  const answer = await ask(path, accept, user)
  if (!answer.ok) throw new Error(await answer.text())
  const reader = answer.body!.getReader()
  const events: Event[] = []
  let isOver = false
  const cancel = () => reader.cancel()
  open.push({ cancel })
  const read = async () => {
    const { value, done } = await reader.read()
    isOver ||= done
    const lines = new TextDecoder().decode(value).split("\n").filter(Boolean)
    events.push(...lines.map((line) => JSON.parse(line) as Event))
  }
  return {
    cancel,
    /** So many events, or fewer when that is all there are. */
    async take(count: number): Promise<Event[]> {
      while (events.length < count && !isOver) await read()
      return events.splice(0, count)
    },
    async rest(): Promise<Event[]> {
      while (!isOver) await read()
      return events.splice(0)
    },
  }
}

const briefly = (events: Event[]) =>
  events.map(({ type, object }) => `${type} ${object.metadata["name"]} ${object.metadata["resourceVersion"]}`)

describe("a list and a watch from its version", () => {
  test("tell everything once: sessions that begin, steal and end", async () => {
    told.put(listedSession(10n))
    const list = (await (await ask("/sessions")).json()) as Event["object"] & { items: Event["object"][] }
    expect(list.items.map(({ metadata }) => metadata["resourceVersion"])).toEqual(["101"])
    const { take } = await watch(`/sessions?watch=true&resourceVersion=${list.metadata["resourceVersion"]}`)
    told.put(listedSession(11n))
    told.hold(80, "B")
    told.end(10n)
    const events = await take(3)
    expect(briefly(events)).toEqual(["ADDED B 102", "MODIFIED B 103", "DELETED A 104"])
    expect(events[1]!.object).toMatchObject({
      kind: "Session",
      apiVersion: "operator.metalbear.co/v1",
      metadata: { namespace: "shop", uid: "uid-11" },
      spec: { session: { id: "B", locked_ports: [{ port: 80, kind: "steal" }] } },
    })
  })

  test("whoever comes late is told what was missed, as long as that is kept, and has to list again then", async () => {
    const before = told.put(listedSession(10n))
    told.put(listedSession(11n))
    expect(briefly(await (await watch(`/sessions?watch=true&resourceVersion=${before}`)).take(1))).toEqual([
      "ADDED B 102",
    ])
    for (let i = 0; i < 2 * keptChanges; i++) told.hold(80, ...(i % 2 ? [] : ["A"]))
    const [expired, ...more] = await (await watch(`/sessions?watch=true&resourceVersion=${before}`)).rest()
    expect([expired!.type, expired!.object.code, expired!.object["reason"]]).toEqual(["ERROR", 410, "Expired"])
    expect(more).toEqual([])
  })

  test("from a version another replica has told: nothing is told twice", async () => {
    const { take } = await watch("/sessions?watch=true&resourceVersion=102")
    told.put(listedSession(10n))
    told.put(listedSession(11n))
    told.put(listedSession(12n))
    expect(briefly(await take(1))).toEqual(["ADDED C 103"])
  })
})

test.each([
  ["of a namespace", "/namespaces/shop/sessions?watch=true", "ADDED A"],
  ["of one name", "/sessions?watch=true&fieldSelector=metadata.name=B", "ADDED B"],
  ["of a key", "/sessions?watch=true&fieldSelector=spec.session.key=k", "ADDED C"],
])("only what is selected is told: %s", async (_what, path, first) => {
  const { take } = await watch(path)
  told.put(listedSession(10n))
  const { info } = listedSession(11n)
  told.put(listedSession(11n, { info: { ...info, namespace: "bank" } }))
  told.put(listedSession(12n, { info: { ...listedSession(12n).info, namespace: "bank" }, key: "k" }))
  expect(briefly(await take(1))[0]).toStartWith(first)
})

test("without a version what there is comes first; whoever asks for it is told that this was all", async () => {
  for (let i = 1n; i <= 150n; i++) told.put(listedSession(i))
  const streaming = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
  const plain = await watch("/sessions?watch=true")
  const { take } = await watch(`/sessions?watch=true&${streaming}`)
  const first = await take(151)
  told.put(listedSession(151n))
  expect(new Set(first.slice(0, 150).map(({ type }) => type))).toEqual(new Set(["ADDED"]))
  expect(first[150]).toEqual({
    type: "BOOKMARK",
    object: {
      kind: "Session",
      apiVersion: "operator.metalbear.co/v1",
      metadata: {
        resourceVersion: "250",
        creationTimestamp: null,
        annotations: { "k8s.io/initial-events-end": "true" },
      },
    },
  } as unknown as Event)
  expect(briefly(await take(1))).toEqual(["ADDED 97 251"])
  expect(briefly(await plain.take(151)).at(-1)).toBe("ADDED 97 251")
})

test("kubectl gets rows, and the columns once", async () => {
  const { take } = await watch("/sessions?watch=true", table)
  told.put(listedSession(10n))
  told.hold(80, "A")
  const [first, second] = (await take(2)) as [Event, Event]
  expect(first.object).toMatchObject({ kind: "Table", metadata: { resourceVersion: "101" } })
  expect(first.object["columnDefinitions"]).not.toEqual([])
  expect(second.object["columnDefinitions"]).toEqual([])
  expect(second.object.rows).toMatchObject([{ cells: ["A", "deployment/web", expect.any(String), "80", "", "5m30s"] }])
})

test("a watch ends when its time is over, when the operator ends, and when all was listed again", async () => {
  const brief = await watch("/sessions?watch=true&timeoutSeconds=1")
  told.put(listedSession(10n))
  expect(briefly(await brief.rest())).toEqual(["ADDED A 101"])
  const long = await watch(`/sessions?watch=true&resourceVersion=${told.changes.version}`)
  told.startOver()
  expect(await long.rest()).toEqual([])
  const other = await watch(`/sessions?watch=true&resourceVersion=${told.changes.version}`)
  told.changes.stop()
  expect(await other.rest()).toEqual([])
})

test("one user has so many watches, all users so many, and each that ends makes room", async () => {
  const status = async (user: string) => {
    const answer = await ask("/sessions?watch=true", undefined, user)
    if (answer.ok) open.push({ cancel: () => answer.body!.cancel() })
    return [answer.status, answer.headers.get("retry-after")]
  }
  for (let i = 0; i < maxWatchesPerUser; i++) expect(await status("ann")).toEqual([200, null])
  expect(await status("ann")).toEqual([429, "5"])
  for (let i = maxWatchesPerUser; i < maxWatches; i++) expect(await status(`user-${i}`)).toEqual([200, null])
  expect(await status("jim")).toEqual([429, "5"])
  await open.pop()!.cancel()
  expect(await status("jim")).toEqual([200, null])
  await open.shift()!.cancel()
  expect(await status("ann")).toEqual([200, null])
  // What was too much has not been counted.
  expect(await status("ann")).toEqual([429, "5"])
})

test("who takes nothing costs a place, not memory: the changes wait where they are kept for all, until they are too many", async () => {
  const slow = await watch("/sessions?watch=true")
  for (let i = 0; i < 3 * keptChanges; i++) told.hold(80, ...(i % 2 ? [] : ["A"]))
  told.put(listedSession(10n))
  for (let i = 0; i < 2 * keptChanges; i++) told.hold(80, ...(i % 2 ? [] : ["A"]))
  const events = await slow.rest()
  expect(events.length).toBeLessThan(300)
})
