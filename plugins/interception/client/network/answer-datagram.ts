/** Refusals of earlier datagrams that may stand in the way of one; the kernel tells one at a time. */
const maxRefusals = 64

/**
 * Sends a datagram to a socket of the program. One that is gone refuses it, which is told with what is sent next: to another socket, perhaps,
 * so that is sent again. What fails for another reason is lost, like any datagram.
 */
export function answerDatagram(socket: Bun.udp.Socket<"buffer">, data: Uint8Array, port: number, ip: string): void {
  for (let refusals = 0; refusals <= maxRefusals; refusals++) {
    try {
      socket.send(data, port, ip)
      return
    } catch (thrown) {
      if ((thrown as { code?: string }).code !== "ECONNREFUSED") return
    }
  }
}
