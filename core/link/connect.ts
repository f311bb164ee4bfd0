import type { Socket, SocketHandler, TLSOptions, TLSUpgradeOptions } from "bun"
import { AppError, errorText } from "../errors.ts"
import type { Link } from "../link.ts"
import { type Attached, adopt, type StreamAddress, streaming } from "./bun-socket.ts"
import type { LinkLimits, Side } from "./side.ts"

/** Who is the TLS server on a stream that is opened here: the peer, as usual, or this end. */
export type ConnectTls = TLSOptions | { asServer: { cert: string; key: string } }

export interface ConnectOptions {
  tls?: ConnectTls
  limits?: Partial<LinkLimits>
  /** Gives the attempt up; a link that stands is not touched. */
  signal?: AbortSignal
}

/**
 * Opens a stream and makes a link of it. Certificates are checked as `tls` says (default: they must be valid).
 * @throws AppError "link-unreachable"
 */
export async function connectLink<In, Out>(
  side: Side<In, Out>,
  address: StreamAddress,
  options: ConnectOptions = {},
): Promise<Link<In, Out>> {
  const { tls, signal } = options
  const attempt = new Attempt(side, address, options)
  const giveUp = () => attempt.giveUp(signal?.reason)
  Bun.connect({
    ...address,
    ...(tls === undefined || "asServer" in tls ? {} : { tls }),
    allowHalfOpen: true,
    data: { attempt },
    socket: dialling,
  } as never).catch((error) => attempt.fail(error))
  signal?.addEventListener("abort", giveUp)
  if (signal?.aborted) giveUp()
  try {
    return await attempt.link
  } finally {
    signal?.removeEventListener("abort", giveUp)
  }
}

interface Dialled<In, Out> extends Attached<In, Out> {
  attempt?: Attempt<In, Out>
}

/** One connection that is being made. */
class Attempt<In, Out> {
  readonly link: Promise<Link<In, Out>>
  readonly #settled = Promise.withResolvers<Link<In, Out>>()
  readonly #side: Side<In, Out>
  readonly #address: StreamAddress
  readonly #options: ConnectOptions
  #socket: Socket<Dialled<In, Out>> | undefined
  #over = false

  constructor(side: Side<In, Out>, address: StreamAddress, options: ConnectOptions) {
    this.#side = side
    this.#address = address
    this.#options = options
    this.link = this.#settled.promise
  }

  opened(socket: Socket<Dialled<In, Out>>): void {
    const { tls } = this.#options
    this.#socket = socket
    if (this.#over) socket.terminate()
    else if (tls && "asServer" in tls) secureAsServer(socket, tls.asServer)
    else this.succeed(socket)
  }

  succeed(socket: Socket<Dialled<In, Out>>): void {
    this.#over = true
    this.#settled.resolve(adopt(socket, this.#side, this.#options.limits))
  }

  fail(error: unknown): void {
    this.#over = true
    this.#settled.reject(unreachable(this.#address, error))
  }

  giveUp(reason: unknown): void {
    this.fail(reason)
    this.#socket?.terminate()
  }
}

const dialling: SocketHandler<Dialled<never, unknown>> = {
  ...streaming,
  open: (socket) => socket.data.attempt?.opened(socket),
  connectError: (socket, error) => socket.data.attempt?.fail(error),
}

const dialledAsServer: SocketHandler<Dialled<never, unknown>> = {
  ...streaming,
  // `open` would come for a handshake that failed, too.
  open: () => {},
  handshake: (socket, success, error) => {
    if (success) return socket.data.attempt?.succeed(socket)
    socket.data.attempt?.fail(error ?? "the TLS handshake failed")
    socket.terminate()
  },
}

/** `isServer` is what `node:tls` itself uses; the types leave it out. */
function secureAsServer<In, Out>(socket: Socket<Dialled<In, Out>>, tls: { cert: string; key: string }): void {
  const upgrade = { isServer: true, tls, data: socket.data, socket: dialledAsServer }
  const [raw] = socket.upgradeTLS(upgrade as unknown as TLSUpgradeOptions<Dialled<In, Out>>)
  raw.data = {}
}

/** Bun says "Failed to connect" of them all. */
const reasons: Record<string, string> = {
  ECONNREFUSED: "nobody listens there",
  ENOENT: "there is no such socket",
  ENOTFOUND: "the name has no address",
  EACCES: "you may not use it",
}

function unreachable(address: StreamAddress, cause: unknown): AppError {
  const where =
    "unix" in address
      ? address.unix
      : "fd" in address
        ? `descriptor ${address.fd}`
        : `${address.hostname}:${address.port}`
  const reason = (cause instanceof Error && reasons[(cause as NodeJS.ErrnoException).code ?? ""]) || errorText(cause)
  return new AppError("link-unreachable", `Cannot connect to ${where}: ${reason}`, { cause })
}
