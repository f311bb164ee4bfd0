import type { TcpEvents } from "../../../core/interceptor.ts"
import type { Service } from "../connection.ts"
import type { HttpParts } from "../http-parts.ts"
import { startsHttp2 } from "../http2/frames.ts"
import type { UpgradedConnection } from "../http2/http2-connection.ts"
import type { Outlet } from "../outlet.ts"
import type { End } from "../pass-through.ts"
import type { FilteredSubscription } from "../port.ts"
import { ApplicationSide } from "./application-side.ts"
import { BodyReader } from "./body-reader.ts"
import { CallerInput } from "./caller-input.ts"
import { Claim } from "./claim.ts"
import { Greeting } from "./greeting.ts"
import { Pauses } from "./pauses.ts"
import { parseRequestHead, type RequestHead } from "./request-head.ts"
import { RequestLink } from "./request-link.ts"
import { RequestOwner } from "./request-owner.ts"
import { agentAnswer, endedAnswer, passedLines } from "./response-head.ts"
import { ResponseScanner } from "./response-scanner.ts"

/** The caller is read no further while this much waits to be looked at. */
const maxInputBytes = 128 << 10
/** A caller that says nothing for so long may be waiting for the application to speak first. */
const silenceMilliseconds = 100
/** How long a request head may take once it has begun. */
const headMilliseconds = 10_000

type Phase = "head" | "passing" | "claimed" | "tunnel" | "closed"

/** What a connection can turn out to be; what is made gets all further events. */
export interface Become {
  http2(upgraded?: UpgradedConnection): Service
  /** Nothing for HTTP clients: all of it is the application's, whose end is taken over. */
  raw(application: End): TcpEvents
}

/**
 * One HTTP/1 connection on a port with filters. Requests nobody claims go to the application byte for byte over one connection that
 * stands beside this one; a claimed request waits until the application has answered the ones before it. What is not clearly HTTP
 * belongs to the application from there on.
 */
export class Http1Connection implements Service {
  readonly #parts: HttpParts
  readonly #become: Become
  readonly #outlet: Outlet
  readonly #scanner: ResponseScanner
  readonly #application: ApplicationSide
  readonly #link: RequestLink
  readonly #owner: RequestOwner
  #phase: Phase = "head"
  #spokeHttp1 = false
  readonly #input = new CallerInput()
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

  constructor(parts: HttpParts, become: Become) {
    const { connection, way, port, settings, outlet } = parts
    this.#parts = parts
    this.#become = become
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
    if (this.#phase === "closed") return
    if (this.#phase === "tunnel") {
      this.#claim?.tunnel(bytes)
      return
    }
    this.#input.append(bytes)
    this.#process()
  }

  onDrain(): void {
    if (this.#outlet.onDrain()) this.#application.resume()
  }

  onEnd(): void {
    this.#callerEnded = true
    this.#heedEnd()
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
    let goesOn = true
    while (goesOn && !this.#input.isEmpty) goesOn = this.#takeStep()
    const run = this.#input.takeRun()
    if (run) this.#toApplication(run)
    this.#pauses.set("input", this.#input.length > maxInputBytes)
    this.#watchHead()
  }

  /** Takes from the input what belongs together. False: with what is there, nothing more can be done. */
  #takeStep(): boolean {
    switch (this.#phase) {
      case "head":
        return this.#readHead()
      case "passing":
        return this.#passBody()
      case "claimed":
        return this.#feedClaim()
      case "tunnel":
        this.#claim!.tunnel(this.#input.takeAll())
        return true
      default:
        return false
    }
  }

  #readHead(): boolean {
    if (this.#claim) return false
    const { bytes, at } = this.#input
    if (!this.#spokeHttp1) {
      const start = startsHttp2(bytes)
      if (start === "yes") this.#startHttp2()
      if (start !== "no") return false
    }
    const head = parseRequestHead(bytes, at)
    if (head === "incomplete") return false
    if (head === "odd" || head.method === "CONNECT" || !this.#greeting.isEmpty) {
      this.#goRaw()
      return false
    }
    this.#spokeHttp1 = true
    const unlinked = this.#link.read(head)
    if (unlinked) {
      this.#input.replaceTo(head.end, unlinked)
      return true
    }
    const isBehindOthers = this.#input.hasRun || this.#scanner.outstanding > 0
    if (this.#link.ended && !isBehindOthers) {
      this.#answerItself(endedAnswer(head.method, this.#link.ended))
      return false
    }
    const choice = this.#link.ended ? "nobody" : this.#owner.of(head, bytes, at)
    if (choice === "undecided") return false
    if (choice === "pass") this.#pass(head)
    else if (choice === "nobody" || isBehindOthers) {
      this.#waiting = true
      return false
    } else this.#begin(choice, head)
    return true
  }

  #pass(head: RequestHead): void {
    this.#scanner.expect(head.method, passedLines(this.#parts.settings.marks, this.#link.takeCookie()))
    this.#http2Settings = head.http2Settings
    this.#body = new BodyReader(head.body)
    this.#input.gatherTo(head.end)
    this.#phase = this.#body.done ? "head" : "passing"
  }

  #passBody(): boolean {
    const body = this.#body!
    this.#input.gatherTo(body.feed(this.#input.bytes, this.#input.at))
    if (body.broken) this.#goRaw()
    if (body.done) this.#phase = "head"
    return !body.broken
  }

  #feedClaim(): boolean {
    // The next request waits for the answer to this one.
    if (this.#claim!.bodyDone) return false
    this.#input.skipTo(this.#claim!.feed(this.#input.bytes, this.#input.at))
    return true
  }

  /** The caller began with HTTP/2. What was opened because it was silent for a while is of no use: HTTP/2 opens its own. */
  #startHttp2(): void {
    const input = this.#input.takeAll()
    this.#leave()
    this.#application.drop()
    this.#greeting.take()
    this.#become.http2().onData(input)
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
    this.#input.takeAll()
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
    const input = this.#input.takeAll()
    this.#leave()
    this.#parts.connection.socket.resume()
    this.#outlet.write(bytes.subarray(0, end))
    const application = this.#application.handOver()
    const http2 = this.#become.http2({ application, callerSettings: this.#http2Settings! })
    if (end < bytes.length) application.socket.data.onData(bytes.subarray(end))
    if (input.length > 0) http2.onData(input)
    if (this.#callerEnded) http2.onEnd()
  }

  #begin({ channel }: FilteredSubscription, head: RequestHead): void {
    this.#phase = "claimed"
    this.#parts.settings.onClaimed(1)
    const marks = { ...this.#parts.settings.marks, setCookie: this.#link.takeCookie() }
    const claim = new Claim(channel, this.#parts.connection, head, this.#outlet, marks, {
      onFinished: (reusable) => this.#onAnswered(reusable),
      onUpgraded: () => this.#onUpgraded(),
      onFull: () => this.#pauses.set("client", true),
      onWritable: () => this.#pauses.set("client", false),
    })
    this.#claim = claim
    this.#input.skipTo(claim.begin(this.#input.bytes, head.end, head.expectContinue))
  }

  /** What the caller said behind its request without waiting for the answer, its end included, is the first of the new protocol. */
  #onUpgraded(): void {
    this.#phase = "tunnel"
    this.#process()
    if (this.#callerEnded) this.#claim?.callerEnded()
  }

  #onAnswered(reusable: boolean): void {
    this.#claim = undefined
    this.#parts.settings.onClaimed(-1)
    this.#pauses.set("client", false)
    if (!reusable || (this.#callerEnded && this.#input.isEmpty) || this.#finishing) {
      this.#phase = "closed"
      this.#input.takeAll()
      this.#outlet.end()
      this.#application.end()
      this.#parts.connection.socket.resume()
      return
    }
    this.#phase = "head"
    // Not from here: this may be inside the handling of what was just read.
    if (!this.#input.isEmpty) queueMicrotask(() => this.#phase === "head" && this.#processOn())
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
    if (this.#phase === "closed" || this.#isGreeting(bytes)) return
    if (!this.#greeting.isEmpty) {
      this.#goRaw()?.onData(bytes)
      return
    }
    const end = this.#scanner.feed(bytes)
    if (this.#scanner.opaque) {
      // Something unasked, while somebody else is answering: this application connection is of no more use.
      if (this.#claim) this.#application.drop()
      else if (this.#scanner.switched && this.#mayContinueAsHttp2()) this.#continueAsHttp2(bytes, end)
      else this.#goRaw()?.onData(this.#scanner.withLines(bytes))
      return
    }
    if (!this.#outlet.write(this.#scanner.withLines(bytes))) this.#application.pause()
    if (this.#waiting && this.#scanner.outstanding === 0) {
      this.#waiting = false
      this.#processOn()
    }
    if (this.#finishing) this.#finishWhenIdle()
  }

  /** Between two requests is the moment at which a connection can end without harm; one that was never used may be about to. */
  #finishWhenIdle(): void {
    const isIdle = this.#phase === "head" && this.#spokeHttp1 && this.#input.isEmpty
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
    if (this.#phase === "closed") this.#outlet.end()
    else this.#goRaw()?.onEnd()
  }

  #onApplicationClose(error?: Error): void {
    if (!this.#application.closed()) return
    if (!this.#greeting.isEmpty) this.#outlet.write(this.#greeting.take())
    if (this.#claim || this.#phase === "closed") return
    const unanswered = this.#scanner.outstanding > 0 && !this.#scanner.midway
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

  /** Returns who hears of the application's bytes from now on; nobody, when nobody answers there. */
  #goRaw(): TcpEvents | undefined {
    const input = this.#input.takeAll()
    if (!this.#greeting.isEmpty) this.#outlet.write(this.#greeting.take())
    this.#leave()
    this.#owner.dispose()
    this.#pauses.set("input", false)
    if (!this.#application.open()) {
      this.#outlet.reset()
      return undefined
    }
    const application = this.#application.handOver()
    const raw = this.#become.raw(application)
    if (input.length > 0) raw.onData(input)
    if (this.#callerEnded) raw.onEnd()
    return application.socket.data
  }

  /** The caller has ended; what it sent before counts, so a request that waits for its turn is answered. */
  #heedEnd(): void {
    if (this.#claim) {
      const isLast = !this.#claim.bodyDone || this.#input.isEmpty
      if (isLast) this.#claim.callerEnded()
    } else if (!this.#input.isEmpty && !this.#waiting) this.#goRaw()
    else if (!this.#waiting) this.#endWithoutRequest()
  }

  #processOn(): void {
    this.#process()
    if (this.#callerEnded && this.#phase !== "closed") this.#heedEnd()
  }

  #endWithoutRequest(): void {
    clearTimeout(this.#timer)
    if (this.#scanner.outstanding > 0 || this.#phase === "passing") this.#goRaw()
    else if (this.#application.isOpen) this.#application.end()
    else this.#outlet.end()
  }

  // ---- time

  /** Perhaps the application speaks first: then this is nothing for HTTP clients. */
  #onSilence(): void {
    if (this.#phase !== "head" || !this.#input.isEmpty) return
    if (!this.#application.open()) this.#unreachable()
    else this.#timer = setTimeout(() => this.#onUndecided(), this.#parts.settings.detectionMilliseconds)
  }

  #onUndecided(): void {
    if (this.#phase === "head" && !this.#claim && !this.#waiting) this.#goRaw()
  }

  /** A head that has begun must come to its end. */
  #watchHead(): void {
    if (this.#owner.waitsForBody) return
    clearTimeout(this.#timer)
    if (this.#phase === "head" && !this.#input.isEmpty && !this.#waiting && !this.#claim) {
      this.#timer = setTimeout(() => this.#onUndecided(), headMilliseconds)
    }
  }
}
