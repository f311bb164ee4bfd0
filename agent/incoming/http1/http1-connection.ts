import type { Diversion, TcpEvents, TcpSocket } from "../../../core/interceptor.ts"
import { type Choice, chooseSubscription } from "../choose.ts"
import type { IncomingConnection } from "../connection.ts"
import { preface } from "../http2/frames.ts"
import { Http2Connection } from "../http2/http2-connection.ts"
import type { IncomingSettings } from "../incoming-settings.ts"
import { Outlet } from "../outlet.ts"
import type { FilteredSubscription, Port } from "../port.ts"
import { BodyReader } from "./body-reader.ts"
import { Claim } from "./claim.ts"
import { parseRequestHead, type RequestHead } from "./request-head.ts"
import { agentAnswer } from "./response-head.ts"
import { ResponseScanner } from "./response-scanner.ts"

/** The caller is read no further while this much waits to be looked at. */
const maxInputBytes = 128 << 10
/** A caller that says nothing for so long may be waiting for the application to speak first. */
const silenceMilliseconds = 100
/** How long a request head may take once it has begun. */
const headMilliseconds = 10_000

const empty = Buffer.alloc(0)

type Phase = "head" | "passing" | "collecting" | "claimed" | "tunnel" | "raw" | "closed"

/**
 * One HTTP/1 connection on a port with filters. Requests nobody claims go to the application byte for byte over one connection that
 * stands beside this one; a claimed request waits until the application has answered the ones before it. What is not clearly HTTP
 * belongs to the application from there on (`raw`).
 */
export class Http1Connection implements TcpEvents {
  readonly #connection: IncomingConnection
  readonly #diversion: Pick<Diversion, "connectToApplication">
  readonly #port: Port
  readonly #settings: IncomingSettings
  readonly #outlet: Outlet
  readonly #scanner = new ResponseScanner()
  #phase: Phase = "head"
  #spokeHttp1 = false
  /** Serves the connection instead, once it turned out to be HTTP/2. */
  #http2: Http2Connection | undefined
  #input: Buffer = empty
  #body: BodyReader | undefined
  #claim: Claim | undefined
  /** Of the last request that was passed on, if the application may go on with HTTP/2 after it. */
  #http2Settings: Buffer | undefined
  /** The next request is known but must wait for answers to earlier ones. */
  #waiting = false
  #callerEnded = false
  /** Reasons not to read from the caller. */
  #pausedBy = new Set<"input" | "application" | "client">()
  #timer: ReturnType<typeof setTimeout> | undefined
  #application: TcpSocket | undefined
  #applicationOutlet: Outlet | undefined
  /** Bytes are running between the two without a look at them. */
  #collected: { body: BodyReader; at: number; pieces: Buffer[]; bytes: number; head: RequestHead } | undefined

  constructor(
    connection: IncomingConnection,
    diversion: Pick<Diversion, "connectToApplication">,
    port: Port,
    settings: IncomingSettings,
  ) {
    this.#connection = connection
    this.#diversion = diversion
    this.#port = port
    this.#settings = settings
    this.#outlet = new Outlet(connection.socket)
    this.#timer = setTimeout(() => this.#onSilence(), silenceMilliseconds)
  }

  // ---- the caller

  onData(bytes: Buffer): void {
    if (this.#http2) {
      this.#http2.onData(bytes)
      return
    }
    if (this.#phase === "raw") {
      this.#toApplication(bytes)
      return
    }
    if (this.#phase === "tunnel") {
      this.#claim?.tunnel(bytes)
      return
    }
    this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes])
    this.#process()
  }

  onDrain(): void {
    if (this.#http2) this.#http2.onDrain()
    else if (this.#outlet.onDrain()) this.#application?.resume()
  }

  onEnd(): void {
    this.#callerEnded = true
    if (this.#http2) this.#http2.onEnd()
    else if (this.#phase === "raw") this.#applicationOutlet?.end()
    else if (this.#claim) this.#claim.callerEnded()
    else if (this.#input.length > 0 && !this.#waiting) this.#goRaw(this.#takeInput())
    else if (!this.#waiting) this.#endWithoutRequest()
  }

  onClose(error?: Error): void {
    this.#phase = "closed"
    clearTimeout(this.#timer)
    if (this.#http2) {
      this.#http2.onClose(error)
      return
    }
    this.#outlet.closed()
    this.#claim?.callerGone(!error)
    if (this.#claim) this.#settings.onClaimed(-1)
    if (this.#scanner.outstanding > 0) this.#settings.onBypassed(this.#port.number, -this.#scanner.outstanding)
    if (error) this.#applicationOutlet?.reset()
    else this.#applicationOutlet?.end()
    this.#application?.resume()
  }

  // ---- requests

  #process(): void {
    const input = this.#input
    let at = 0
    // Where those bytes begin that go to the application and have not been handed over yet.
    let passFrom = -1
    while (at < input.length) {
      if (this.#phase === "head") {
        if (this.#claim) break
        if (!this.#spokeHttp1) {
          const start = startsHttp2(input)
          if (start === "maybe") break
          if (start === "yes") {
            this.#becomeHttp2(input)
            return
          }
        }
        const head = parseRequestHead(input, at)
        if (head === "incomplete") break
        if (head === "odd" || head.method === "CONNECT") {
          this.#goRaw(input.subarray(passFrom === -1 ? at : passFrom))
          return
        }
        this.#spokeHttp1 = true
        const choice = this.#choose(head, input, at)
        if (choice === "undecided") break
        if (choice === "pass") {
          this.#scanner.expect(head.method)
          this.#http2Settings = head.http2Settings
          this.#body = new BodyReader(head.body)
          if (passFrom === -1) passFrom = at
          at = head.end
          this.#phase = this.#body.done ? "head" : "passing"
          this.#settings.onBypassed(this.#port.number, 1)
        } else if (passFrom !== -1 || this.#scanner.outstanding > 0) {
          this.#waiting = true
          break
        } else at = this.#begin(choice, head, input)
      } else if (this.#phase === "passing") {
        if (passFrom === -1) passFrom = at
        at = this.#body!.feed(input, at)
        if (this.#body!.broken) {
          this.#goRaw(input.subarray(passFrom))
          return
        }
        if (this.#body!.done) this.#phase = "head"
      } else if (this.#phase === "claimed") {
        // The next request waits for the answer to this one.
        if (this.#claim!.bodyDone) break
        at = this.#claim!.feed(input, at)
      } else if (this.#phase === "tunnel") {
        this.#claim!.tunnel(input.subarray(at))
        at = input.length
      } else break
    }
    this.#input = at === input.length ? empty : input.subarray(at)
    if (passFrom !== -1)
      this.#toApplication(passFrom === 0 && at === input.length ? input : input.subarray(passFrom, at))
    this.#pause("input", this.#input.length > maxInputBytes)
    this.#watchHead()
  }

  #becomeHttp2(input: Buffer): void {
    clearTimeout(this.#timer)
    this.#input = empty
    // Opened because the caller was silent for a while; HTTP/2 opens its own.
    this.#dropApplication()
    this.#http2 = new Http2Connection(this.#connection, this.#diversion, this.#port, this.#settings, this.#outlet)
    this.#http2.onData(input)
  }

  /** The request that asked for it is the only one, and has been passed on whole. */
  #mayContinueAsHttp2(): boolean {
    return (
      this.#http2Settings !== undefined && this.#phase === "head" && !this.#waiting && this.#scanner.outstanding === 1
    )
  }

  /** The application has agreed (RFC 7540, section 3.2): its answer becomes stream 1, and further streams may be anybody's. */
  #continueAsHttp2(bytes: Buffer, end: number): void {
    clearTimeout(this.#timer)
    this.#settings.onBypassed(this.#port.number, -1)
    this.#pausedBy.clear()
    this.#connection.socket.resume()
    this.#outlet.write(bytes.subarray(0, end))
    const upgraded = {
      application: this.#application!,
      applicationOutlet: this.#applicationOutlet!,
      callerSettings: this.#http2Settings!,
    }
    this.#http2 = new Http2Connection(
      this.#connection,
      this.#diversion,
      this.#port,
      this.#settings,
      this.#outlet,
      upgraded,
    )
    if (end < bytes.length) this.#application!.data.onData(bytes.subarray(end))
    const input = this.#takeInput()
    if (input.length > 0) this.#http2.onData(input)
    if (this.#callerEnded) this.#http2.onEnd()
  }

  /** Whose is it? `undecided`: the body must be read first. */
  #choose(head: RequestHead, input: Buffer, at: number): FilteredSubscription | "pass" | "undecided" {
    const subscriptions = this.#port.filtered
    if (subscriptions.length === 0) return "pass"
    let body: Buffer | undefined
    if (head.body.kind !== "none" && subscriptions.some(({ filter }) => filter.needsBody)) {
      const collected = this.#collect(head, input, at)
      if (collected === "undecided") return "undecided"
      body = collected
    } else if (subscriptions.some(({ filter }) => filter.needsBody)) body = empty
    const { method, target, headers } = head
    const choice: Choice = chooseSubscription(
      subscriptions,
      { method, target, headers, body },
      {
        upgrade: head.upgrade,
        tls: this.#connection.transport.kind === "Tls",
      },
    )
    return choice ?? "pass"
  }

  /** The whole body, or undefined when it is too large or too slow. */
  #collect(head: RequestHead, input: Buffer, at: number): Buffer | undefined | "undecided" {
    if (!this.#collected) {
      const pieces: Buffer[] = []
      const collected = { body: new BodyReader(head.body), at: head.end - at, pieces, bytes: 0, head }
      collected.body.sink = (piece) => {
        pieces.push(piece)
        collected.bytes += piece.length
      }
      this.#collected = collected
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#giveUpBody(), this.#settings.maxBodyMilliseconds)
      if (head.expectContinue) this.#outlet.write(Buffer.from("HTTP/1.1 100 Continue\r\n\r\n"))
    }
    const collected = this.#collected
    collected.at = collected.body.feed(input, at + collected.at) - at
    const { body, bytes, pieces } = collected
    const tooLarge = bytes > this.#settings.maxBodyBytes
    if (!body.done && !body.broken && !tooLarge && !this.#bodyTooLate) return "undecided"
    this.#collected = undefined
    this.#bodyTooLate = false
    clearTimeout(this.#timer)
    return body.done && !tooLarge ? Buffer.concat(pieces) : undefined
  }

  #bodyTooLate = false

  #giveUpBody(): void {
    this.#bodyTooLate = true
    this.#process()
  }

  #begin({ channel }: FilteredSubscription, head: RequestHead, input: Buffer): number {
    this.#phase = "claimed"
    this.#settings.onClaimed(1)
    const claim = new Claim(channel, this.#connection, head, this.#outlet, this.#settings.marks, {
      onFinished: (reusable) => this.#onAnswered(reusable),
      onUpgraded: () => (this.#phase = "tunnel"),
      onFull: () => this.#pause("client", true),
      onWritable: () => this.#pause("client", false),
    })
    this.#claim = claim
    return claim.begin(input, head.end, head.expectContinue)
  }

  #onAnswered(reusable: boolean): void {
    this.#claim = undefined
    this.#settings.onClaimed(-1)
    this.#pause("client", false)
    if (!reusable || this.#callerEnded) {
      this.#phase = "closed"
      this.#input = empty
      this.#outlet.end()
      this.#applicationOutlet?.end()
      this.#connection.socket.resume()
      return
    }
    this.#phase = "head"
    // Not from here: this may be inside the handling of what was just read.
    if (this.#input.length > 0) queueMicrotask(() => this.#phase === "head" && this.#process())
  }

  // ---- the application

  #toApplication(bytes: Uint8Array): void {
    const outlet = this.#applicationOutlet ?? this.#connect()
    if (outlet && bytes.length > 0 && !outlet.write(bytes)) this.#pause("application", true)
  }

  #connect(): Outlet | undefined {
    try {
      this.#application = this.#diversion.connectToApplication(this.#connection.destination, {
        onData: (bytes) => this.#onAnswer(bytes),
        onDrain: () => {
          if (this.#applicationOutlet?.onDrain()) this.#pause("application", false)
        },
        onEnd: () => this.#onApplicationEnd(),
        onClose: (error) => this.#onApplicationClose(error),
      })
      this.#applicationOutlet = new Outlet(this.#application)
      return this.#applicationOutlet
    } catch {
      this.#unreachable()
      return undefined
    }
  }

  #onAnswer(bytes: Buffer): void {
    if (this.#phase !== "raw") {
      const before = this.#scanner.outstanding
      const end = this.#scanner.feed(bytes)
      if (this.#scanner.outstanding < before)
        this.#settings.onBypassed(this.#port.number, this.#scanner.outstanding - before)
      if (this.#scanner.opaque) {
        if (this.#claim) {
          // Something unasked, while somebody else is answering: this application connection is of no more use.
          this.#dropApplication()
          return
        }
        if (this.#scanner.switched && this.#mayContinueAsHttp2()) {
          this.#continueAsHttp2(bytes, end)
          return
        }
        this.#goRaw(this.#takeInput())
      }
    }
    if (!this.#outlet.write(bytes)) this.#application?.pause()
    if (this.#waiting && this.#scanner.outstanding === 0) {
      this.#waiting = false
      this.#process()
      if (this.#callerEnded && this.#input.length === 0 && !this.#claim) this.#endWithoutRequest()
    }
  }

  #onApplicationEnd(): void {
    if (this.#claim) {
      this.#dropApplication()
      return
    }
    if (this.#phase !== "raw") this.#goRaw(this.#takeInput())
    this.#outlet.end()
  }

  #onApplicationClose(error?: Error): void {
    this.#applicationOutlet?.closed()
    if (!this.#application) return
    this.#application = undefined
    this.#applicationOutlet = undefined
    if (this.#claim || this.#phase === "closed") return
    const unanswered = this.#scanner.outstanding > 0 && !this.#scanner.midway && this.#phase !== "raw"
    this.#phase = "closed"
    if (unanswered && error) this.#unreachable()
    else if (error) this.#outlet.reset()
    else this.#outlet.end()
    this.#connection.socket.resume()
  }

  #dropApplication(): void {
    const outlet = this.#applicationOutlet
    this.#application = undefined
    this.#applicationOutlet = undefined
    outlet?.reset()
  }

  #unreachable(): void {
    const wasHttp = this.#scanner.outstanding > 0
    this.#phase = "closed"
    if (wasHttp) {
      this.#outlet.write(agentAnswer(502, "the application does not answer at its port"))
      this.#outlet.end()
    } else this.#outlet.reset()
  }

  // ---- what is not for HTTP clients

  #goRaw(bytes: Buffer): void {
    this.#phase = "raw"
    clearTimeout(this.#timer)
    this.#input = empty
    this.#collected = undefined
    this.#pause("input", false)
    this.#toApplication(bytes)
    if (this.#callerEnded) this.#applicationOutlet?.end()
  }

  #endWithoutRequest(): void {
    clearTimeout(this.#timer)
    if (this.#scanner.outstanding > 0 || this.#phase === "passing") this.#goRaw(this.#takeInput())
    else if (this.#application) this.#applicationOutlet?.end()
    else this.#outlet.end()
  }

  #takeInput(): Buffer {
    const input = this.#input
    this.#input = empty
    return input
  }

  // ---- time

  /** Perhaps the application speaks first: then this is nothing for HTTP clients. */
  #onSilence(): void {
    if (this.#phase !== "head" || this.#input.length > 0) return
    this.#connect()
    if (this.#application) this.#timer = setTimeout(() => this.#onUndecided(), this.#settings.detectionMilliseconds)
  }

  #onUndecided(): void {
    if (this.#phase === "head" && !this.#claim && !this.#waiting) this.#goRaw(this.#takeInput())
  }

  /** A head that has begun must come to its end. */
  #watchHead(): void {
    if (this.#phase === "collecting" || this.#collected) return
    clearTimeout(this.#timer)
    if (this.#phase === "head" && this.#input.length > 0 && !this.#waiting && !this.#claim) {
      this.#timer = setTimeout(() => this.#onUndecided(), headMilliseconds)
    }
  }

  #pause(reason: "input" | "application" | "client", on: boolean): void {
    const before = this.#pausedBy.size
    if (on) this.#pausedBy.add(reason)
    else this.#pausedBy.delete(reason)
    const after = this.#pausedBy.size
    if (before === 0 && after > 0) this.#connection.socket.pause()
    else if (before > 0 && after === 0) this.#connection.socket.resume()
  }
}

function startsHttp2(input: Buffer): "yes" | "maybe" | "no" {
  const length = Math.min(input.length, preface.length)
  if (!input.subarray(0, length).equals(preface.subarray(0, length))) return "no"
  return length === preface.length ? "yes" : "maybe"
}
