import type { Logger } from "../log.ts"
import { KubeError } from "./errors.ts"
import type { Kube, Query } from "./kube.ts"
import type { Metadata } from "./objects.ts"

interface Named {
  metadata: Metadata & { resourceVersion?: string; uid?: string; managedFields?: unknown }
}

interface Page<T> {
  items?: T[] | null
  metadata?: { resourceVersion?: string; continue?: string }
}

const pageSize = 500

export interface FollowOptions<T> {
  kube: Kube
  /** Path of a collection. */
  path: string
  query?: Query
  signal: AbortSignal
  log: Logger
  /** A watch that says nothing for so long is dead, in milliseconds. Default 180 000: at least a bookmark comes each minute. */
  silenceMs?: number
  /** What of an object stays in memory, its identity at least. Default: all but who set which field. */
  keep?(object: T): T
  /**
   * All that matches, whenever something may have changed. Called with the first list before `follow` resolves. Without
   * `change` everything may be different; `version` is the list's then.
   */
  onChange(objects: ReadonlyMap<string, T>, change?: FollowedChange<T>, version?: string): void
}

/** One object was made, changed or removed. */
export interface FollowedChange<T> {
  before: T | undefined
  /** As it is, or was when it was removed. */
  object: T
}

const usualSilenceMs = 180_000

/** Between attempts after a failure, in milliseconds: doubled each time up to the limit. */
const firstPauseMs = 100
const longestPauseMs = 5_000

/**
 * Keeps a collection in memory: lists it, then watches, and lists again when the watch cannot go on. Resolves after the first
 * list; later failures are logged and tried again until `signal` is aborted. @throws what the first list throws
 */
export async function follow<T extends Named>(options: FollowOptions<T>): Promise<void> {
  const objects = new Map<string, T>()
  const version = await relist(options, objects)
  void keepWatching(options, objects, version)
}

/** The same for who has nobody to tell that the first list fails: that is tried again as well. Resolves when `signal` is aborted. */
export function keepFollowing<T extends Named>(options: FollowOptions<T>): Promise<void> {
  return keepWatching(options, new Map(), undefined)
}

const keyOf = ({ metadata }: Named) => (metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name)

/** Who set which field is often most of an object, and nobody here asks for it. */
function withoutFieldOwners<T extends Named>(object: T): T {
  delete object.metadata.managedFields
  return object
}

async function relist<T extends Named>(
  options: FollowOptions<T>,
  objects: Map<string, T>,
): Promise<string | undefined> {
  const { kube, path, query, signal, onChange, keep = withoutFieldOwners } = options
  const found = new Map<string, T>()
  let page: Page<T> | undefined
  do {
    // By pages: ten thousand objects in one answer would take the memory of all of them several times over.
    const asked = { ...query, limit: pageSize, continue: page?.metadata?.continue }
    page = await kube.request<Page<T>>("GET", path, { query: asked, signal, what: `list ${path}` })
    for (const object of page.items ?? []) found.set(keyOf(object), keep(object))
  } while (page.metadata?.continue)
  objects.clear()
  for (const [key, object] of found) objects.set(key, object)
  onChange(objects, undefined, page.metadata?.resourceVersion)
  return page.metadata?.resourceVersion
}

async function keepWatching<T extends Named>(
  options: FollowOptions<T>,
  objects: Map<string, T>,
  start: string | undefined,
): Promise<void> {
  const { signal, log, path } = options
  let version = start
  let pauseMs = firstPauseMs
  while (!signal.aborted) {
    try {
      version ??= await relist(options, objects)
      version = await watchOnce(options, objects, version)
      pauseMs = firstPauseMs
      // A server that ends watches at once must not be asked in a tight loop.
      await pause(firstPauseMs, signal)
    } catch (thrown) {
      if (signal.aborted) return
      // Expired or broken: what was missed can only be had by listing again.
      version = undefined
      if (!(thrown instanceof KubeError && thrown.code === "kube-expired")) {
        log.warn("watch failed, trying again", { path, error: thrown, pauseMs })
      }
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }
}

/** Follows one watch to its end and gives the version to go on from. */
async function watchOnce<T extends Named>(
  options: FollowOptions<T>,
  objects: Map<string, T>,
  start: string | undefined,
): Promise<string | undefined> {
  const { kube, path, query, signal, log, onChange, keep = withoutFieldOwners, silenceMs = usualSilenceMs } = options
  let version = start
  const watchQuery = { ...query, resourceVersion: version, allowWatchBookmarks: true }
  // Something on the way may forget a connection and tell nobody.
  const dead = new AbortController()
  const silence = setTimeout(() => dead.abort(), silenceMs)
  const either = AbortSignal.any([signal, dead.signal])
  try {
    for await (const { type, object: told } of kube.watch<T>(path, { query: watchQuery, signal: either })) {
      silence.refresh()
      version = told.metadata.resourceVersion ?? version
      if (type === "BOOKMARK") continue
      const object = keep(told)
      const key = keyOf(object)
      const before = objects.get(key)
      if (type === "DELETED") objects.delete(key)
      else objects.set(key, object)
      onChange(objects, { before, object })
    }
    return version
  } catch (thrown) {
    if (!dead.signal.aborted || signal.aborted) throw thrown
    log.warn("watch said nothing for long, going on with another", { path, silenceMs })
    return version
  } finally {
    clearTimeout(silence)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener("abort", done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener("abort", done)
  })
}
