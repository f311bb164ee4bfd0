import type { Socket, TLSOptions } from "bun"
import { AppError, errorText } from "../core/errors.ts"
import { connectLink, type StreamAddress, servingSide } from "../core/link/index.ts"
import { raiseBacklog } from "../core/linux/backlog.ts"
import { tryDuplicate } from "../core/linux/open.ts"
import { syscall } from "../core/linux/syscall.ts"
import type { Logger } from "../core/log.ts"
import type { ClientLink } from "./client-link.ts"
import type { Visitor } from "./clients.ts"
import type { ListenAddress } from "./command-line.ts"
import { type Handshake, Handshakes } from "./handshakes.ts"
import { listenUpgradable } from "./upgradable-links.ts"

/** Clients that may wait to be accepted; an operator that starts again connects for all its sessions at once. */
const backlog = 4096
/** fcntl(2): a second descriptor that children do not inherit. */

export interface ClientListener {
  /** For logs: "[::]:61337" or the path. */
  address: string
  /** Undefined for a unix socket. */
  port: number | undefined
  stop(): void
}

/**
 * Accepts clients. With `tls` nothing of a client is looked at before it has proved, in the role of the TLS server, that
 * it is the operator. @throws AppError "cannot-listen"
 */
export function listenForClients(
  address: ListenAddress,
  tls: TLSOptions | undefined,
  log: Logger,
  onLink: (link: ClientLink) => Visitor | undefined,
): ClientListener {
  const accept = (at: StreamAddress) => {
    const listener = tls ? acceptSecured(at, tls, log, onLink) : listenUpgradable(at, log, onLink)
    raiseBacklog(listener, backlog)
    return listener
  }
  try {
    if (address.kind === "unix") {
      const listener = accept({ unix: address.path })
      return { address: address.path, port: undefined, stop: () => listener.stop() }
    }
    const { listener, hostname } = acceptBothFamilies(address.port, accept)
    const { port } = listener as { port?: number }
    return { address: `${hostname}:${port}`, port, stop: () => listener.stop() }
  } catch (cause) {
    throw new AppError("cannot-listen", `Cannot listen for clients: ${errorText(cause)}`, {
      cause,
      next: "Choose a port (or path) that is free.",
    })
  }
}

/** "::" takes IPv4, too; a node without IPv6 has only 0.0.0.0. */
function acceptBothFamilies<T>(port: number, accept: (at: StreamAddress) => T): { listener: T; hostname: string } {
  try {
    return { listener: accept({ hostname: "::", port }), hostname: "[::]" }
  } catch {
    return { listener: accept({ hostname: "0.0.0.0", port }), hostname: "0.0.0.0" }
  }
}

/**
 * Bun refuses to be the TLS client on a socket it has accepted, so the socket is taken over by a second descriptor and
 * adopted as one of ours.
 */
function acceptSecured(at: StreamAddress, tls: TLSOptions, log: Logger, onLink: (link: ClientLink) => unknown) {
  const handshakes = new Handshakes((fd) => shakeHands(fd, tls, log, onLink))
  return Bun.listen({
    ...at,
    socket: {
      open(socket: Socket) {
        socket.pause()
        const fd = tryDuplicate((socket as unknown as { fd: number }).fd)
        socket.close()
        if (fd >= 0) handshakes.add(fd)
      },
      data() {},
    },
  } as never) as { port?: number; stop(): void }
}

function shakeHands(fd: number, tls: TLSOptions, log: Logger, onLink: (link: ClientLink) => unknown): Handshake {
  const secured = connectLink(servingSide, { fd }, { tls })
  const { promise: tooLate, reject } = Promise.withResolvers<never>()
  return {
    over: Promise.race([secured, tooLate]).then(onLink, (error) => log.warn("client refused: no TLS", { error })),
    giveUp() {
      reject(new AppError("handshake-timeout", "No TLS handshake in time"))
      secured.then((link) => link.abort()).catch(() => {})
      syscall("shutdown", fd, 2)
    },
  }
}
