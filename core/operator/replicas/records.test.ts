import { afterEach, expect, test } from "bun:test"
import { KubeError } from "../../kube/errors.ts"
import type { Kube, RequestOptions, WatchEvent } from "../../kube/kube.ts"
import { silentLogger } from "../../log.ts"
import type { Lease } from "./lease.ts"
import { type RecordContent, Records } from "./records.ts"

/* What stands between two answers of Kubernetes: a storage that is quicker than its watch, and one that is in trouble. */

const ending: AbortController[] = []
afterEach(() => {
  for (const each of ending.splice(0)) each.abort()
})

const refusal = (status: number) => new KubeError("kube-error", `status ${status}`, status, {})

/** Leases with versions that grow; the watch tells what it is made to tell. */
async function storage() {
  const stored = new Map<string, Lease>()
  let version = 100
  let trouble: number | undefined
  const asked: string[] = []
  const news: WatchEvent<Lease>[] = []
  let wake = () => {}
  const signal = new AbortController()
  ending.push(signal)
  signal.signal.addEventListener("abort", () => wake())
  const put = (name: string, body: Lease): Lease => {
    const lease = { ...body, metadata: { ...body.metadata, uid: name, resourceVersion: String(++version) } }
    stored.set(name, lease)
    return lease
  }
  const kube = {
    async request(method: string, path: string, { body }: RequestOptions = {}) {
      const name = /\/leases\/(.+)$/.exec(path)?.[1]
      if (method === "GET" && name === undefined) {
        return { items: [...stored.values()], metadata: { resourceVersion: String(version) } }
      }
      asked.push(method)
      if (trouble !== undefined) throw refusal(trouble)
      const lease = body as Lease
      if (method === "POST") {
        if (stored.has(lease.metadata.name)) throw refusal(409)
        return put(lease.metadata.name, lease)
      }
      const there = stored.get(name!)
      if (!there) throw refusal(404)
      if (method === "GET") return there
      const wanted = (body as { preconditions?: { resourceVersion: string } }).preconditions ?? lease.metadata
      if (wanted.resourceVersion !== there.metadata.resourceVersion) throw refusal(409)
      if (method === "PUT") return put(name!, lease)
      stored.delete(name!)
      version++
      return {}
    },
    async *watch() {
      while (!signal.signal.aborted) {
        for (const event of news.splice(0)) yield event
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
  const records = new Records({
    kube: kube as unknown as Kube,
    namespace: "mirrord",
    ownerMarker: "o",
    owner: undefined,
    log: silentLogger,
    signal: signal.signal,
  })
  await records.start()
  return {
    records,
    asked,
    stored,
    /** Another replica has changed it. */
    changeElsewhere: (name: string) => put(name, stored.get(name)!),
    inTrouble(status: number | undefined) {
      trouble = status
    },
    /** The watch tells; resolves when that was heard. */
    async tell(type: WatchEvent<Lease>["type"], object: Lease) {
      news.push({ type, object })
      wake()
      await new Promise(setImmediate)
    },
  }
}

const content = (text: string): RecordContent => ({ annotations: { text }, spec: { holderIdentity: text } })
const write = (text: string) => () => ({ write: content(text), answer: text })
const texts = (records: Records) => records.list("session").map(({ metadata }) => metadata.annotations?.["text"])

test("what was written here is read here at once and once, whatever the watch tells, and when", async () => {
  const { records, stored, tell } = await storage()
  await records.change("session", "a", write("one"))
  expect(texts(records)).toEqual(["one"])
  const one = stored.get("a")!
  await tell("ADDED", one)
  await records.change("session", "a", write("two"))
  expect(texts(records)).toEqual(["two"])
  // It is behind: that is older than what is known.
  await tell("MODIFIED", one)
  expect([texts(records), records.get("a")?.spec?.holderIdentity]).toEqual([["two"], "two"])
  await tell("MODIFIED", stored.get("a")!)
  expect(texts(records)).toEqual(["two"])
  expect(records.list("port-lock")).toEqual([])
})

test("what was removed here is gone here at once, and from the storage, and does not come back with old news", async () => {
  const { records, stored, tell } = await storage()
  await records.change("session", "a", write("one"))
  const one = stored.get("a")!
  await tell("ADDED", one)
  await records.change("session", "a", () => ({ write: "remove", answer: undefined }))
  expect([[...stored.keys()], texts(records), records.get("a")]).toEqual([[], [], undefined])
  await tell("MODIFIED", one)
  expect(texts(records)).toEqual([])
  await tell("DELETED", one)
  expect(texts(records)).toEqual([])
  await records.change("session", "a", write("again"))
  expect(texts(records)).toEqual(["again"])
})

test("who was slower decides again, about what is there by then", async () => {
  const { records, stored, changeElsewhere } = await storage()
  await records.change("session", "a", write("one"))
  const decidedAbout: (string | undefined)[] = []
  const answer = await records.change("session", "a", (current) => {
    decidedAbout.push(current?.metadata.resourceVersion)
    if (decidedAbout.length === 1) changeElsewhere("a")
    return { write: content("two"), answer: decidedAbout.length }
  })
  expect(answer).toBe(2)
  expect(new Set(decidedAbout).size).toBe(2)
  expect(stored.get("a")?.metadata.annotations).toEqual({ text: "two" })
})

test("nothing is decided about what cannot be read; what is not there can be decided about", async () => {
  const { records, inTrouble, asked } = await storage()
  let decided = 0
  const decide = () => ({ write: content("one"), answer: ++decided })
  for (const status of [403, 500]) {
    inTrouble(status)
    await expect(records.change("session", "a", decide)).rejects.toMatchObject({ status })
  }
  expect([decided, asked]).toEqual([0, ["GET", "GET"]])
  inTrouble(undefined)
  expect(await records.change("session", "a", decide)).toBe(1)
})

test("a record is made once: the second gets the first", async () => {
  const { records } = await storage()
  expect(await records.create("session", "a", content("one"))).toBeUndefined()
  expect((await records.create("session", "a", content("two")))?.spec?.holderIdentity).toBe("one")
  expect(texts(records)).toEqual(["one"])
})
