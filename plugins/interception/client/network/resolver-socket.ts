import type { DnsWorld } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import type { SharedState } from "../watch/shared-state.ts"
import { answerDatagram } from "./answer-datagram.ts"

/** Queries that wait for an answer; more are dropped, as a busy name server does. */
const maxWaiting = 1024
const loopback = "127.0.0.1"

/** The one socket all queries of connected UDP sockets come to: the watching thread joins those to it by itself. */
export class ResolverSocket {
  /** Where the program's sockets are connected in place of the name server's address. */
  readonly at: Endpoint
  readonly #socket: Bun.udp.Socket<"buffer">

  static async open(dns: DnsWorld, shared: SharedState): Promise<ResolverSocket> {
    let waiting = 0
    const socket = await Bun.udpSocket({
      hostname: loopback,
      port: 0,
      socket: {
        data(socket, query, port, address) {
          // Other programs of this machine could find the port, too.
          if (!shared.resolverPorts.has(port) || waiting >= maxWaiting) return
          waiting++
          void dns.answer(new Uint8Array(query)).then((answer) => {
            waiting--
            if (!socket.closed) answerDatagram(socket, answer, port, address)
          })
        },
        error: () => {},
      },
    })
    return new ResolverSocket(socket)
  }

  private constructor(socket: Bun.udp.Socket<"buffer">) {
    this.#socket = socket
    this.at = { ip: loopback, port: socket.port }
  }

  close(): void {
    this.#socket.close()
  }
}
