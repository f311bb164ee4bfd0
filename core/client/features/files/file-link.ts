import { AppError } from "../../../errors.ts"
import type { FileRequest, FileResponse, ProtocolFeature, Result } from "../../../protocol/index.ts"
import { AnswerQueue } from "../../answer-queue.ts"
import type { Conversation } from "../../conversation.ts"
import { ErrnoError } from "../../engine.ts"
import { errno, forbiddenText, toErrno } from "../response-errno.ts"

/** A file the agent holds open. It is known by its number on one connection only. */
export interface Descriptor {
  fd: bigint
  generation: number
}

type AnswerKind = FileResponse["kind"]
type Value<K extends AnswerKind> = Extract<FileResponse, { kind: K }>["value"] extends Result<infer T> ? T : never

/** Questions about files: every one has exactly one answer, in order, so any number may be on the way. */
export class FileLink {
  readonly #conversation: Conversation
  readonly #answers = new AnswerQueue<FileResponse>()
  #generation = 0

  constructor(conversation: Conversation) {
    this.#conversation = conversation
    conversation.on("File", (answer) => {
      if (!this.#answers.answer(answer)) conversation.broken("a file answer")
    })
    conversation.onInterrupted((error) => {
      this.#generation++
      this.#answers.failWaiting(error)
    })
    conversation.onEnd((error) => this.#answers.fail(error))
  }

  /** Counts the connections; descriptors of earlier ones are invalid. */
  get generation(): number {
    return this.#generation
  }

  supports(feature: ProtocolFeature): boolean {
    return this.#conversation.supports(feature)
  }

  /** Sends at once. @throws ErrnoError with what the agent says, EIO when it is gone */
  async ask<K extends AnswerKind>(request: FileRequest, kind: K): Promise<Value<K>> {
    const answered = this.#answers.next()
    try {
      this.#conversation.send({ kind: "FileRequest", value: request })
    } catch (thrown) {
      // A value the protocol has no room for; whoever asks later must not get each other's answers.
      answered.catch(() => {})
      this.#answers.withdraw()
      throw thrown
    }
    const answer = await answered.catch((error: Error) => {
      throw new ErrnoError(errno.EIO, error.message)
    })
    if (answer.kind !== kind) {
      this.#conversation.broken(`${answer.kind} as answer to ${request.kind}`)
      throw new ErrnoError(errno.EIO, "the answer does not fit the question")
    }
    const result = answer.value as Result<Value<K>>
    if (result.kind === "Ok") return result.value
    const refusal = forbiddenText(result.value)
    if (refusal) this.#conversation.refused(new AppError("policy", refusal))
    throw toErrno(result.value)
  }

  /** @throws ErrnoError EIO when the connection on which it was opened is gone */
  require({ generation }: Descriptor): void {
    if (generation !== this.#generation) throw new ErrnoError(errno.EIO, "the connection it was opened on is lost")
  }

  close({ fd, generation }: Descriptor): void {
    if (generation !== this.#generation) return
    this.#conversation.sendUnhurried({ kind: "FileRequest", value: { kind: "Close", value: { fd } } })
  }

  /** Waits until what was written is on its way, so that a fast writer does not fill the memory. */
  settle(): Promise<void> {
    return this.#conversation.whenWritable()
  }
}
