import type { Speaker } from "../../../last-words.ts"
import type { Conversation } from "../../conversation.ts"
import type { LocalStream } from "../../local-stream.ts"
import { BudgetShare, type InputBudget } from "../input-budget.ts"
import { reach } from "./reach.ts"

/** Once the caller is gone, a connection to the program ends after this much silence, in milliseconds: it may still be reading. */
const lingerMs = 1_000
const nothing = new Uint8Array(0)

export interface RawDeliveryOptions {
  conversation: Conversation
  budget: InputBudget
  connectionId: bigint
  steal: boolean
  /** Connects to the program where it listens at present. */
  connect(): Promise<{ stream: LocalStream; forget(): void }>
  /** Both sides are finished with it. */
  onOver(): void
}

/** One intercepted TCP connection, delivered byte for byte. */
export class RawDelivery implements Speaker {
  readonly #options: RawDeliveryOptions
  #stream: LocalStream | undefined
  #forget = () => {}
  /** Bytes for a program that is not connected yet. */
  #early: Uint8Array[] = []
  #callerEnded = false
  readonly #share: BudgetShare
  #over = false
  #linger: ReturnType<typeof setTimeout> | undefined
  #remoteGone = false
  #programEnd = false
  passedBytes = 0

  constructor(options: RawDeliveryOptions) {
    this.#options = options
    this.#share = new BudgetShare(options.budget)
    void this.#connect()
  }

  async #connect(): Promise<void> {
    try {
      const { stream, forget } = await reach(this.#options.connect, () => !this.#over)
      if (this.#over) {
        forget()
        stream.destroy()
        return
      }
      this.#stream = stream
      this.#forget = forget
      stream.handlers = {
        data: (bytes) => this.#fromProgram(bytes),
        drain: () => this.#recharge(),
        end: () => this.#programEnded(),
        closed: () => this.#lost(),
      }
      stream.resume()
      for (const bytes of this.#early) stream.write(bytes)
      this.#early = []
      this.#recharge()
      if (this.#callerEnded) stream.end()
      if (this.#remoteGone) this.#endProgram()
    } catch {
      this.#lost()
    }
  }

  /** The program has ended: nobody will take a connection that is still waiting for it. */
  programGone(): void {
    if (!this.#stream) this.#lost()
  }

  // ---- from the agent

  data(bytes: Uint8Array): void {
    if (this.#over) return
    if (bytes.byteLength === 0) {
      this.#callerEnded = true
      this.#stream?.end()
      return
    }
    if (this.#stream) this.#stream.write(bytes)
    else this.#early.push(bytes)
    this.#recharge()
  }

  closedByAgent(): void {
    this.#remoteGone = true
    // A caller may be done before the program is connected, which gets all of it nevertheless.
    this.#endProgram()
  }

  /** A stolen connection that is over without the caller's end has broken off, and must not look complete; copies may be cut short. */
  #endProgram(): void {
    if (!this.#stream) return
    if (this.#options.steal && !this.#callerEnded) this.#stream.breakOff()
    else this.#stream.end()
    if (!this.#over) this.#waitForSilence()
  }

  get isSpeaking(): boolean {
    return this.#options.steal && !this.#over && !this.#remoteGone && !this.#programEnd
  }

  // ---- from the program

  #fromProgram(bytes: Uint8Array): void {
    if (this.#remoteGone) this.#waitForSilence()
    if (this.#remoteGone || !this.#options.steal) return
    this.passedBytes += bytes.byteLength
    const { conversation, connectionId } = this.#options
    const open = conversation.send({ kind: "TcpSteal", value: { kind: "Data", value: { connectionId, bytes } } })
    if (open) return
    this.#stream?.pause()
    void conversation.whenWritable().then(() => this.#stream?.resume())
  }

  #programEnded(): void {
    this.#programEnd = true
    if (this.#over || this.#remoteGone || !this.#options.steal) return
    const { conversation, connectionId } = this.#options
    conversation.send({ kind: "TcpSteal", value: { kind: "Data", value: { connectionId, bytes: nothing } } })
  }

  #lost(): void {
    if (this.#over) return
    const { conversation, connectionId, steal } = this.#options
    const value = { kind: "ConnectionUnsubscribe", value: connectionId } as const
    if (!this.#remoteGone) conversation.send(steal ? { kind: "TcpSteal", value } : { kind: "Tcp", value })
    this.#finish()
  }

  #waitForSilence(): void {
    clearTimeout(this.#linger)
    this.#linger = setTimeout(() => this.#finish(), lingerMs)
    this.#linger.unref()
  }

  /** Keeps the budget equal to what waits here. */
  #recharge(): void {
    const early = this.#early.reduce((sum, bytes) => sum + bytes.byteLength, 0)
    this.#share.set(this.#over ? 0 : early + (this.#stream?.queuedBytes ?? 0))
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#linger)
    this.#early = []
    this.#recharge()
    this.#forget()
    this.#stream?.destroy()
    this.#options.onOver()
  }
}
