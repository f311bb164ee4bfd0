import type { HttpParts, Service } from "../connection.ts"
import { preface } from "../http2/frames.ts"
import type { UpgradedConnection } from "../http2/http2-connection.ts"
import type { Outlet } from "../outlet.ts"
import type { FilteredSubscription } from "../port.ts"
import { ApplicationSide } from "./application-side.ts"
import { BodyReader } from "./body-reader.ts"
import { Claim } from "./claim.ts"
import { Greeting } from "./greeting.ts"
import { Pauses } from "./pauses.ts"
import { parseRequestHead, type RequestHead } from "./request-head.ts"
import { RequestLink } from "./request-link.ts"
import { RequestOwner } from "./request-owner.ts"
import { agentAnswer, endedAnswer } from "./response-head.ts"
import { ResponseScanner } from "./response-scanner.ts"

/** The caller is read no further while this much waits to be looked at. */
const maxInputBytes = 128 << 10
/** A caller that says nothing for so long may be waiting for the application to speak first. */
const silenceMilliseconds = 100
/** How long a request head may take once it has begun. */
const headMilliseconds = 10_000

const empty = Buffer.alloc(0)

type Phase = "head" | "passing" | "claimed" | "tunnel" | "raw" | "closed"

/**
 * One HTTP/1 connection on a port with filters. Requests nobody claims go to the application byte for byte over one connection that
 * stands beside this one; a claimed request waits until the application has answered the ones before it. What is not clearly HTTP
 * belongs to the application from there on (`raw`).
 */
export class Http1Connection implements Service {
  readonly #parts: HttpParts
  readonly #becomeHttp2: (upgraded?: UpgradedConnection) => Service
  readonly #outlet: Outlet
  readonly #scanner: ResponseScanner
  readonly #application: ApplicationSide
  readonly #link: RequestLink
  readonly #owner: RequestOwner
  #phase: Phase = "head"
  #spokeHttp1 = false
  #input: Buffer = empty
  #body: BodyReader | undefined
  #claim: Claim | undefined
  /** Of the last request that was passed on, if the application may go on with HTTP/2 after it. */
  #http2Settings: Buffer | undefined
  /** The next request is known but must wait for answers to earlier ones. */
  #waiting = false
  #callerEnded = false
  #finishing = false
  readonly #pauses: Pauses<"input" | "application" | "client">
  readonly #greeting = new Greeting()
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `becomeHttp2` makes what serves the connection from then on, and gets all further events. */
  constructor(parts: HttpParts, becomeHttp2: (upgraded?: UpgradedConnection) => Service) {
    const { connection, way, port, settings, outlet } = parts
    this.#parts = parts
    this.#becomeHttp2 = becomeHttp2
    this.#outlet = outlet
    this.#pauses = new Pauses(connection.socket)
    this.#scanner = new ResponseScanner((by) => settings.onBypassed(port.number, by))
    this.#application = new ApplicationSide((events) => way.connectToApplication(connection, events), {
      onData: (bytes) => this.#onAnswer(bytes),
      onDrain: () => {
        if (this.#application.onDrain()) this.#pauses.set("application", false)
      },
      onEnd: () => this.#onApplicationEnd(),
      onClose: (error) => this.#onApplicationClose(error),
    })
    this.#link = new RequestLink(parts.settings.shareLinks)
    this.#owner = new RequestOwner(parts, () => this.#process())
    this.#timer = setTimeout(() => this.#onSilence(), silenceMilliseconds)
  }

  // ---- the caller

  onData(bytes: Buffer): void {
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
    if (this.#outlet.onDrain()) this.#application.resume()
  }

  onEnd(): void {
    this.#callerEnded = true
    if (this.#phase === "raw") this.#application.end()
    else if (this.#claim) this.#claim.callerEnded()
    else if (this.#input.length > 0 && !this.#waiting) this.#goRaw(this.#takeInput())
    else if (!this.#waiting) this.#endWithoutRequest()
  }

  finish(): void {
    this.#finishing = true
    this.#claim?.answerAsLast()
    this.#finishWhenIdle()
  }

  onClose(error?: Error): void {
    this.#phase = "closed"
    clearTimeout(this.#timer)
    this.#outlet.closed()
    this.#claim?.callerGone(!error)
    if (this.#claim) this.#parts.settings.onClaimed(-1)
    this.#scanner.giveUp()
    this.#owner.dispose()
    if (error) this.#application.reset()
    else this.#application.end()
    this.#application.resume()
  }

  // ---- requests

  #process(): void {
    let input = this.#input
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
            this.#startHttp2(input)
            return
          }
        }
        const head = parseRequestHead(input, at)
        if (head === "incomplete") break
        if (head === "odd" || head.method === "CONNECT") {
          this.#goRaw(input.subarray(passFrom === -1 ? at : passFrom))
          return
        }
        if (!this.#greeting.isEmpty) {
          this.#goRaw(input)
          return
        }
        this.#spokeHttp1 = true
        const unlinked = this.#link.read(head)
        if (unlinked) {
          input = Buffer.concat([input.subarray(0, at), unlinked, input.subarray(head.end)])
          continue
        }
        if (this.#link.ended && passFrom === -1 && this.#scanner.outstanding === 0) {
          this.#answerItself(endedAnswer(head.method, this.#link.ended))
          return
        }
        const choice = this.#link.ended ? "nobody" : this.#owner.of(head, input, at)
        if (choice === "undecided") break
        if (choice === "pass") {
          const cookie = this.#link.takeCookie()
          this.#scanner.expect(head.method, cookie && `set-cookie: ${cookie}\r\n`)
          this.#http2Settings = head.http2Settings
          this.#body = new BodyReader(head.body)
          if (passFrom === -1) passFrom = at
          at = head.end
          this.#phase = this.#body.done ? "head" : "passing"
        } else if (choice === "nobody" || passFrom !== -1 || this.#scanner.outstanding > 0) {
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
    this.#pauses.set("input", this.#input.length > maxInputBytes)
    this.#watchHead()
  }

  /** The caller began with HTTP/2. What was opened because it was silent for a while is of no use: HTTP/2 opens its own. */
  #startHttp2(input: Buffer): void {
    this.#leave()
    this.#application.drop()
    this.#greeting.take()
    this.#becomeHttp2().onData(input)
  }

  /** The agent's own answer is the connection's last. */
  #answerItself(answer: Buffer): void {
    this.#leave()
    this.#application.drop()
    this.#outlet.write(answer)
    this.#outlet.end()
    this.#parts.connection.socket.resume()
  }

  #leave(): void {
    clearTimeout(this.#timer)
    this.#phase = "closed"
    this.#input = empty
    this.#scanner.giveUp()
  }

  /** The request that asked for it is the only one, and has been passed on whole. */
  #mayContinueAsHttp2(): boolean {
    return (
      this.#http2Settings !== undefined && this.#phase === "head" && !this.#waiting && this.#scanner.outstanding === 1
    )
  }

  /** The application has agreed (RFC 7540, section 3.2): its answer becomes stream 1, and further streams may be anybody's. */
  #continueAsHttp2(bytes: Buffer, end: number): void {
    const input = this.#input
    this.#leave()
    this.#parts.connection.socket.resume()
    this.#outlet.write(bytes.subarray(0, end))
    const upgraded = { ...this.#application.handOver(), callerSettings: this.#http2Settings! }
    const http2 = this.#becomeHttp2(upgraded)
    if (end < bytes.length) upgraded.application.data.onData(bytes.subarray(end))
    if (input.length > 0) http2.onData(input)
    if (this.#callerEnded) http2.onEnd()
  }

  #begin({ channel }: FilteredSubscription, head: RequestHead, input: Buffer): number {
    this.#phase = "claimed"
    this.#parts.settings.onClaimed(1)
    const marks = { ...this.#parts.settings.marks, setCookie: this.#link.takeCookie() }
    const claim = new Claim(channel, this.#parts.connection, head, this.#outlet, marks, {
      onFinished: (reusable) => this.#onAnswered(reusable),
      onUpgraded: () => (this.#phase = "tunnel"),
      onFull: () => this.#pauses.set("client", true),
      onWritable: () => this.#pauses.set("client", false),
    })
    this.#claim = claim
    return claim.begin(input, head.end, head.expectContinue)
  }

  #onAnswered(reusable: boolean): void {
    this.#claim = undefined
    this.#parts.settings.onClaimed(-1)
    this.#pauses.set("client", false)
    if (!reusable || this.#callerEnded || this.#finishing) {
      this.#phase = "closed"
      this.#input = empty
      this.#outlet.end()
      this.#application.end()
      this.#parts.connection.socket.resume()
      return
    }
    this.#phase = "head"
    // Not from here: this may be inside the handling of what was just read.
    if (this.#input.length > 0) queueMicrotask(() => this.#phase === "head" && this.#process())
  }

  // ---- the application

  #toApplication(bytes: Uint8Array): void {
    if (!this.#application.open()) this.#unreachable()
    else if (bytes.length > 0 && !this.#application.write(bytes)) this.#pauses.set("application", true)
  }

  #isGreeting(bytes: Buffer): boolean {
    return this.#phase === "head" && !this.#spokeHttp1 && this.#greeting.keep(bytes)
  }

  #onAnswer(bytes: Buffer): void {
    if (this.#isGreeting(bytes)) return
    if (!this.#greeting.isEmpty) this.#goRaw(this.#takeInput())
    if (this.#phase !== "raw") {
      const end = this.#scanner.feed(bytes)
      if (this.#scanner.opaque) {
        if (this.#claim) {
          // Something unasked, while somebody else is answering: this application connection is of no more use.
          this.#application.drop()
          return
        }
        if (this.#scanner.switched && this.#mayContinueAsHttp2()) {
          this.#continueAsHttp2(bytes, end)
          return
        }
        this.#goRaw(this.#takeInput())
      }
    }
    if (!this.#outlet.write(this.#scanner.withLines(bytes))) this.#application.pause()
    if (this.#waiting && this.#scanner.outstanding === 0) {
      this.#waiting = false
      this.#process()
      if (this.#callerEnded && this.#input.length === 0 && !this.#claim) this.#endWithoutRequest()
    }
    if (this.#finishing) this.#finishWhenIdle()
  }

  /** Between two requests is the moment at which a connection can end without harm; one that was never used may be about to. */
  #finishWhenIdle(): void {
    const isIdle = this.#phase === "head" && this.#spokeHttp1 && this.#input.length === 0
    if (!this.#finishing || !isIdle || this.#claim || this.#scanner.outstanding > 0) return
    this.#leave()
    this.#outlet.end()
    this.#application.end()
  }

  #onApplicationEnd(): void {
    if (this.#claim) {
      this.#application.drop()
      return
    }
    if (this.#phase !== "raw") this.#goRaw(this.#takeInput())
    this.#outlet.end()
  }

  #onApplicationClose(error?: Error): void {
    if (!this.#application.closed()) return
    if (!this.#greeting.isEmpty) this.#outlet.write(this.#greeting.take())
    if (this.#claim || this.#phase === "closed") return
    const unanswered = this.#scanner.outstanding > 0 && !this.#scanner.midway && this.#phase !== "raw"
    this.#phase = "closed"
    if (unanswered && error) this.#unreachable()
    else if (error) this.#outlet.reset()
    else this.#outlet.end()
    this.#parts.connection.socket.resume()
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
    if (!this.#greeting.isEmpty) this.#outlet.write(this.#greeting.take())
    clearTimeout(this.#timer)
    this.#input = empty
    this.#owner.dispose()
    this.#pauses.set("input", false)
    this.#toApplication(bytes)
    if (this.#callerEnded) this.#application.end()
  }

  #endWithoutRequest(): void {
    clearTimeout(this.#timer)
    if (this.#scanner.outstanding > 0 || this.#phase === "passing") this.#goRaw(this.#takeInput())
    else if (this.#application.isOpen) this.#application.end()
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
    if (!this.#application.open()) this.#unreachable()
    else this.#timer = setTimeout(() => this.#onUndecided(), this.#parts.settings.detectionMilliseconds)
  }

  #onUndecided(): void {
    if (this.#phase === "head" && !this.#claim && !this.#waiting) this.#goRaw(this.#takeInput())
  }

  /** A head that has begun must come to its end. */
  #watchHead(): void {
    if (this.#owner.waitsForBody) return
    clearTimeout(this.#timer)
    if (this.#phase === "head" && this.#input.length > 0 && !this.#waiting && !this.#claim) {
      this.#timer = setTimeout(() => this.#onUndecided(), headMilliseconds)
    }
  }
}

function startsHttp2(input: Buffer): "yes" | "maybe" | "no" {
  const length = Math.min(input.length, preface.length)
  if (!input.subarray(0, length).equals(preface.subarray(0, length))) return "no"
  return length === preface.length ? "yes" : "maybe"
}
