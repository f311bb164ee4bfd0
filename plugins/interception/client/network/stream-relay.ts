import type { RemoteConnection } from "../../../../core/client/engine.ts"
import type { Speaker } from "../../../../core/last-words.ts"
import type { Unhurried } from "./unhurried.ts"

type Handlers = Bun.SocketHandler<StreamRelay | undefined>

/** More than this may still be on its way when an answer comes; less is in the remote kernel's hands then. In bytes. */
const surelySentBytes = 16 * 1024

/** The program's end of a local connection. */
export interface ProgramEnd {
  /** Tells a program that has closed its socket from one that has only ended its own direction; both look alike to us. */
  isGone(): boolean
  unhurried: Unhurried
}

/**
 * Carries bytes between a local socket and a remote connection, both ways, with half closes. Neither side is read while
 * the other cannot take what is there.
 */
export class StreamRelay implements Speaker {
  readonly #socket: Bun.Socket<StreamRelay | undefined>
  readonly #program: ProgramEnd | undefined
  #remote: RemoteConnection | undefined
  #onClosed: () => void = () => {}
  /** What came from a program that was faster than the remote side; nothing more is read then. */
  #early: Uint8Array[] = []
  #endedEarly = false
  /** Written since the remote side last said something. */
  #unansweredBytes = 0
  /** Whether all that was written before that has surely left the agent. */
  #isSurelySent = true
  #localEnded = false
  passedBytes = 0
  #queue: Uint8Array[] = []
  #ending = false
  #closing = false
  /** The agent ended it before both directions were over. */
  #broken = false
  #closed = false

  /** To be called with an open socket whose handlers are `relayHandlers`. Without `program` every end is one of its own direction. */
  constructor(socket: Bun.Socket<StreamRelay | undefined>, program?: ProgramEnd) {
    this.#socket = socket
    this.#program = program
    socket.data = this
  }

  /** Begins to carry. `onClosed` is called once, when the local socket is gone. */
  join(remote: RemoteConnection, onClosed: () => void): void {
    if (this.#closed) {
      remote.close()
      onClosed()
      return
    }
    this.#remote = remote
    this.#onClosed = onClosed
    if (this.#early.length > 0) {
      this.#socket.resume()
      for (const data of this.#early.splice(0)) this.fromLocal(data)
    }
    if (this.#endedEarly) this.localEnded()
    remote.attach({
      onData: (data) => this.#fromRemote(data),
      onDrain: () => {
        if (!this.#closed) this.#socket.resume()
      },
      onEnd: () => {
        this.#ending = true
        this.#finish()
      },
      onClose: (byPeer) => {
        this.#closing = true
        this.#broken = byPeer === true && !(this.#ending && this.#localEnded)
        this.#finish()
      },
    })
  }

  /** An agent that is left drops what it has not sent yet; a connection it has closed has nothing left. */
  get isSpeaking(): boolean {
    if (this.#closed || this.#closing) return false
    return !this.#localEnded || this.#unansweredBytes > surelySentBytes
  }

  fromLocal(data: Uint8Array): void {
    if (!this.#remote) {
      this.#early.push(data.slice())
      this.#socket.pause()
      return
    }
    this.passedBytes += data.length
    this.#unansweredBytes += data.length
    if (this.#unansweredBytes > surelySentBytes) this.#isSurelySent = false
    if (!this.#remote.write(data)) this.#socket.pause()
  }

  /**
   * Without anybody who could read what comes, one message ends all. An agent may drop what it has not sent yet when it gets
   * that message, so it is for connections whose last word was the remote side's.
   */
  localEnded(): void {
    const remote = this.#remote
    if (!remote) {
      this.#endedEarly = true
      return
    }
    this.#localEnded = true
    if (this.#program && this.#unansweredBytes === 0 && this.#isSurelySent && this.#program.isGone())
      this.#program.unhurried.add(() => remote.close())
    else remote.end()
  }

  drained(): void {
    if (this.#queue.length === 0) {
      this.#finish()
      return
    }
    while (this.#queue.length > 0) {
      const piece = this.#queue[0]!
      const count = Math.max(0, this.#socket.write(piece))
      if (count < piece.length) {
        this.#queue[0] = piece.subarray(count)
        return
      }
      this.#queue.shift()
    }
    this.#remote?.resume()
    this.#finish()
  }

  localClosed(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue = []
    this.#remote?.close()
    this.#onClosed()
  }

  #fromRemote(data: Uint8Array): void {
    if (this.#closed) return
    this.#unansweredBytes = 0
    let rest = data
    if (this.#queue.length === 0) {
      const count = Math.max(0, this.#socket.write(data))
      if (count === data.length) return
      rest = data.subarray(count)
      this.#remote?.pause()
    }
    this.#queue.push(rest)
  }

  #finish(): void {
    if (this.#closed || this.#queue.length > 0) return
    // Whoever reads until the end must not take what has come for all of it.
    if (this.#broken) this.#socket.terminate()
    else if (this.#closing) this.#socket.end()
    else if (this.#ending) this.#socket.shutdown()
  }
}

/** Handlers for every socket that becomes a relay's; before that, what comes is kept by the kernel (`pause` in `open`). */
export const relayHandlers: Handlers = {
  data: (socket, data) => socket.data?.fromLocal(data),
  drain: (socket) => socket.data?.drained(),
  end: (socket) => socket.data?.localEnded(),
  close: (socket) => socket.data?.localClosed(),
  error: (socket) => socket.data?.localClosed(),
}
