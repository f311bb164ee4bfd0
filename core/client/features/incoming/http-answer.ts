import type { ClientMessage, HttpBodyFrame, HttpHeaders, LayerTcpSteal } from "../../../protocol/index.ts"
import type { Conversation } from "../../conversation.ts"
import type { ResponseHead } from "./http1-response.ts"

interface Ids {
  connectionId: bigint
  requestId: number
  port: number
}

/** Largest answer kept whole for agents too old for streamed ones, in bytes. */
const maxWholeBytes = 64 << 20

/**
 * Sends one answer to a stolen request in the form the agreed version allows: streamed, or in one piece when it is complete
 * before anything had to be sent.
 */
export class HttpAnswer {
  readonly #conversation: Conversation
  readonly #ids: Ids
  readonly #streams: boolean
  #head: ResponseHead | undefined
  #frames: HttpBodyFrame[] = []
  #heldBytes = 0
  #started = false
  #flushing = false
  #over = false
  /** The link had room after the last message. */
  #open = true

  constructor(conversation: Conversation, ids: Ids) {
    this.#conversation = conversation
    this.#ids = ids
    this.#streams = conversation.supports("httpChunkedResponse")
  }

  get begun(): boolean {
    return this.#head !== undefined
  }

  head(head: ResponseHead): void {
    this.#head = head
    // Frames that come in the same turn as the head travel with it.
    if (this.#streams) this.#scheduleFlush()
  }

  /** False: stop reading from the program until `whenWritable`. */
  body(bytes: Uint8Array): boolean {
    if (this.#over) return true
    this.#frames.push({ kind: "Data", value: bytes })
    this.#heldBytes += bytes.byteLength
    if (!this.#streams) {
      if (this.#heldBytes > maxWholeBytes) this.fail("the answer is too large for the version of the agent")
      return true
    }
    return this.#scheduleFlush()
  }

  whenWritable(): Promise<void> {
    return this.#conversation.whenWritable()
  }

  done(trailers: HttpHeaders | undefined): void {
    if (this.#over || !this.#head) return
    this.#over = true
    if (trailers) this.#frames.push({ kind: "Trailers", value: trailers })
    if (this.#started) this.#sendBody(true)
    else if (this.#conversation.supports("httpFramed"))
      this.#steal({ kind: "HttpResponseFramed", value: this.#response(this.#frames) })
    else this.#steal({ kind: "HttpResponse", value: this.#response(Buffer.concat(dataOf(this.#frames))) })
  }

  /** Nobody waits for it any more; nothing more is sent. */
  abandon(): void {
    this.#over = true
    this.#take()
  }

  /** Nothing usable came from the program. */
  fail(reason: string): void {
    if (this.#over) return
    this.#over = true
    const { port: _, ...ids } = this.#ids
    if (this.#started) {
      this.#steal({ kind: "HttpResponseChunked", value: { kind: "Error", value: ids } })
      return
    }
    const body = Buffer.from(`podside: ${reason}\n`)
    this.#head = {
      status: 502,
      version: "HTTP/1.1",
      headers: new Map([
        ["content-type", ["text/plain; charset=utf-8"]],
        ["content-length", [String(body.byteLength)]],
      ]),
    }
    this.#steal({ kind: "HttpResponse", value: this.#response(body) })
  }

  #scheduleFlush(): boolean {
    if (!this.#flushing) {
      this.#flushing = true
      queueMicrotask(() => {
        this.#flushing = false
        if (!this.#over) this.#flush()
      })
    }
    return this.#open
  }

  #flush(): void {
    if (this.#started) {
      this.#sendBody(false)
      return
    }
    this.#started = true
    const value = this.#response(this.#take())
    this.#steal({ kind: "HttpResponseChunked", value: { kind: "Start", value } })
  }

  #sendBody(isLast: boolean): void {
    const { connectionId, requestId } = this.#ids
    const value = { frames: this.#take(), isLast, connectionId, requestId }
    if (value.frames.length > 0 || isLast) this.#steal({ kind: "HttpResponseChunked", value: { kind: "Body", value } })
  }

  #take(): HttpBodyFrame[] {
    const frames = this.#frames
    this.#frames = []
    this.#heldBytes = 0
    return frames
  }

  #response<B>(body: B) {
    const { status, version, headers } = this.#head!
    return { ...this.#ids, internalResponse: { status, version, headers, body } }
  }

  #steal(value: LayerTcpSteal): void {
    this.#open = this.#conversation.send({ kind: "TcpSteal", value } satisfies ClientMessage)
  }
}

const dataOf = (frames: readonly HttpBodyFrame[]) =>
  frames.flatMap((frame) => (frame.kind === "Data" ? [frame.value] : []))
