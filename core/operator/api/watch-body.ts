import type { SessionChange, SessionChanges, SessionView } from "../session/session-changes.ts"
import type { ListOptions } from "./list-options.ts"
import { expired, failure } from "./status.ts"
import { type ApiObject, type Shape, shapedBookmark, shapedObject } from "./table.ts"

export interface WatchRequest {
  plural: string
  options: ListOptions
  shape: Shape
  chosen(view: SessionView): boolean
  object(view: SessionView): ApiObject
}

/** How long a watch goes on when its caller does not say, and at most, in seconds; then the caller asks for the next one. */
const usualSeconds = 1_800
const longestSeconds = 3_600
/** Between two bookmarks, in milliseconds: a caller that comes back with the latest one has missed nothing. */
const bookmarkMs = 60_000
/** Changes in one piece of the body. */
const atOnce = 100

type Told = Pick<SessionChange, "type" | "view" | "version">

/**
 * The body of one watch: a JSON document in a line for each change. Changes are kept once for all who watch, and each has but
 * a place among them; who is too slow loses that place, and lists again.
 */
export class WatchBody {
  readonly #request: WatchRequest
  readonly #changes: SessionChanges
  readonly #onEnd: () => void
  readonly #stopListening: () => void
  readonly #encoder = new TextEncoder()
  readonly #era: number
  readonly #until: number
  /** What is there already, for who asks for that. */
  readonly #beginning: Told[]
  /** The beginning is how things were at this version. */
  readonly #start: bigint
  /** Never, for who does not want any. */
  #bookmarkAt: number
  #saidColumns = false
  /** What there was has still to be said to be all. */
  #saysAll: boolean
  /** Number of the change to tell next; undefined when it is not kept any more. */
  #next: number | undefined
  #wake: (() => void) | undefined
  #isOver = false

  /** @param onEnd called once, when the watch has ended, whoever ended it */
  constructor(request: WatchRequest, changes: SessionChanges, onEnd: () => void) {
    const { sendInitialEvents, resourceVersion, timeoutSeconds } = request.options
    this.#request = request
    this.#changes = changes
    this.#onEnd = onEnd
    this.#era = changes.era
    this.#start = changes.version
    this.#bookmarkAt = request.options.allowWatchBookmarks ? performance.now() + bookmarkMs : Number.POSITIVE_INFINITY
    const seconds = timeoutSeconds > 0 ? Math.min(timeoutSeconds, longestSeconds) : usualSeconds
    this.#until = performance.now() + seconds * 1000
    const withAll = sendInitialEvents ?? resourceVersion === 0n
    const views = withAll ? [...changes.views()].filter(request.chosen) : []
    this.#beginning = views.map((view) => ({ type: "ADDED", view, version: view.version }))
    this.#saysAll = sendInitialEvents === true
    this.#next = withAll || resourceVersion === 0n ? changes.next : changes.after(resourceVersion)
    this.#stopListening = changes.onChange(() => this.#wake?.())
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (!this.#isOver) {
      const text = this.#text()
      if (text) return controller.enqueue(this.#encoder.encode(text))
      if (text === undefined) {
        this.#end()
        return controller.close()
      }
      await this.#somethingNew()
    }
  }

  cancel(): void {
    this.#end()
  }

  /** What there is to tell now, perhaps nothing yet; undefined at the end. */
  #text(): string | undefined {
    const now = performance.now()
    if (now >= this.#until || this.#changes.era !== this.#era) return undefined
    if (this.#beginning.length > 0) return this.#lines(this.#beginning.splice(0, atOnce))
    if (this.#saysAll) {
      this.#saysAll = false
      return this.#bookmark(this.#start, { "k8s.io/initial-events-end": "true" })
    }
    while (this.#next !== this.#changes.next) {
      const latest = this.#latest()
      const text = Array.isArray(latest) ? this.#lines(latest) : latest
      if (text !== "") return text
    }
    if (now < this.#bookmarkAt) return ""
    this.#bookmarkAt = now + bookmarkMs
    return this.#bookmark(this.#changes.version)
  }

  #latest(): Told[] | string | undefined {
    const { chosen, options } = this.#request
    if (this.#next === undefined) {
      // Told once; the next time is the end.
      this.#next = -1
      const told = failure(expired(`too old resource version: ${options.resourceVersion}`))
      return `${JSON.stringify({ type: "ERROR", object: told })}\n`
    }
    const latest = this.#changes.from(this.#next, atOnce)
    if (!latest) return undefined
    this.#next += latest.length
    // One that comes from another replica may know more than this one does yet.
    return latest.filter(({ view, version }) => version > options.resourceVersion && chosen(view))
  }

  #lines(told: readonly Told[]): string {
    return told.map((one) => this.#line(one)).join("")
  }

  #line({ type, view, version }: Told): string {
    const { plural, shape, object } = this.#request
    const { metadata, ...rest } = object(view)
    const shown = { ...rest, metadata: { ...metadata, resourceVersion: String(version) } }
    const told = shapedObject(plural, shown, shape, !this.#saidColumns)
    this.#saidColumns = true
    return `${JSON.stringify({ type, object: told })}\n`
  }

  #bookmark(version: bigint, annotations?: Record<string, string>): string {
    const { plural, shape } = this.#request
    const metadata = { resourceVersion: String(version), creationTimestamp: null, annotations }
    return `${JSON.stringify({ type: "BOOKMARK", object: shapedBookmark(plural, metadata, shape) })}\n`
  }

  async #somethingNew(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    const timer = setTimeout(resolve, Math.min(this.#bookmarkAt, this.#until) - performance.now())
    await promise
    clearTimeout(timer)
    this.#wake = undefined
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stopListening()
    this.#wake?.()
    this.#onEnd()
  }
}
