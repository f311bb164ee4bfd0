import { randomInt } from "node:crypto"
import { UdpSocket } from "../outgoing/udp.ts"
import type { Surroundings } from "../target/target.ts"
import { decodeReply, encodeQuery, type Failure, type QueryType, type Reply } from "./message.ts"

const port = 53
/**
 * How long a socket takes questions, in milliseconds, and how many: who would forge replies must not have long to find its port, and the
 * pod that answers for a service's address is chosen for each port anew.
 */
const maxAgeMs = 1000
const maxQuestions = 256

interface Question {
  query: Uint8Array
  answer(reply: Reply | Failure): void
}

/** Sockets to name servers from the target's network. All questions of a moment share one, as the search list and two families make many. */
export class ServerSockets {
  readonly #surroundings: Surroundings
  readonly #open = new Map<string, ServerSocket>()

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** Puts a question to a server; what was sent is given back, too, to be put again in another way. */
  ask(server: string, name: string, type: QueryType, milliseconds: number): Asked {
    let socket = this.#open.get(server)
    if (!socket?.takesQuestions) {
      const made = new ServerSocket(server, this.#surroundings, () => {
        if (this.#open.get(server) === made) this.#open.delete(server)
      })
      this.#open.set(server, made)
      socket = made
    }
    const query = encodeQuery(socket.freeId(), name, type)
    return { query, reply: query ? socket.ask(query, milliseconds) : Promise.resolve("bad-name") }
  }
}

export interface Asked {
  /** Undefined for a name that cannot be asked for. */
  query: Uint8Array | undefined
  reply: Promise<Reply | Failure>
}

/** One UDP socket; each question that waits is known by its id. */
class ServerSocket {
  readonly #waiting = new Map<number, Question>()
  readonly #connected: Promise<UdpSocket>
  readonly #onRetired: () => void
  #socket: UdpSocket | undefined
  #asked = 0
  takesQuestions = true

  constructor(server: string, surroundings: Surroundings, onRetired: () => void) {
    this.#onRetired = onRetired
    this.#connected = this.#connect(server, surroundings)
    // Who asks hears of it.
    this.#connected.catch(() => this.#retire())
    setTimeout(() => this.#retire(), maxAgeMs).unref()
  }

  freeId(): number {
    for (;;) {
      const id = randomInt(0x10000)
      if (!this.#waiting.has(id)) return id
    }
  }

  async ask(query: Uint8Array, milliseconds: number): Promise<Reply | Failure> {
    const id = idOf(query)
    const { promise, resolve } = Promise.withResolvers<Reply | Failure>()
    const timer = setTimeout(() => this.#fail("timeout", id), milliseconds)
    this.#waiting.set(id, { query, answer: resolve })
    if (++this.#asked >= maxQuestions) this.#retire()
    try {
      const socket = this.#socket ?? (await this.#connected)
      socket.write(query)
      return await promise
    } catch {
      return "unreachable"
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(id)
      this.#closeWhenDone()
    }
  }

  async #connect(server: string, surroundings: Surroundings): Promise<UdpSocket> {
    const socket = await UdpSocket.connect({ ip: server, port }, surroundings)
    this.#socket = socket
    socket.start({
      data: (datagram) => this.#received(datagram),
      drain() {},
      end() {},
      refused: () => {
        for (const id of this.#waiting.keys()) this.#fail("unreachable", id)
      },
      close() {},
    })
    return socket
  }

  #received(datagram: Uint8Array): void {
    const question = datagram.length < 2 ? undefined : this.#waiting.get(idOf(datagram))
    // What is no reply to a query is somebody's forgery or comes late; the right one may still come.
    const reply = question && decodeReply(datagram, question.query)
    if (reply) question.answer(reply)
  }

  /** Whoever asks again does so from another port. */
  #fail(failure: Failure, id: number): void {
    this.#retire()
    this.#waiting.get(id)?.answer(failure)
  }

  #retire(): void {
    if (!this.takesQuestions) return
    this.takesQuestions = false
    this.#onRetired()
    this.#closeWhenDone()
  }

  #closeWhenDone(): void {
    if (this.takesQuestions || this.#waiting.size > 0) return
    this.#socket?.close()
    this.#socket = undefined
  }
}

const idOf = (message: Uint8Array): number => (message[0]! << 8) | message[1]!
