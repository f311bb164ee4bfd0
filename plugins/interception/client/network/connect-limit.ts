import type { RemoteConnection } from "../../../../core/client/engine.ts"
import { errno, LinuxError } from "../../../../core/linux/errno.ts"
import { type Answer, failure } from "../kernel/call.ts"

/** The time a blocking connect may take (SO_SNDTIMEO; 0 = any): Linux answers EINPROGRESS when it is over. */
export class ConnectLimit {
  readonly #over = Promise.withResolvers<Answer>()
  readonly #timer: ReturnType<typeof setTimeout> | undefined
  #isOver = false
  #undo = () => {}

  constructor(milliseconds: number) {
    if (milliseconds > 0) this.#timer = setTimeout(() => this.#end(), milliseconds)
  }

  get over(): Promise<Answer> {
    return this.#over.promise
  }

  /** `undo` is called before the program goes on. */
  whenOver(undo: () => void): void {
    this.#undo = undo
  }

  /** For a connection that may come too late: nobody would close it. @throws LinuxError */
  inTime(connection: RemoteConnection): RemoteConnection {
    if (!this.#isOver) return connection
    connection.close()
    throw new LinuxError(errno.EINPROGRESS, "connect in time")
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #end(): void {
    this.#isOver = true
    this.#undo()
    this.#over.resolve(failure(errno.EINPROGRESS))
  }
}
