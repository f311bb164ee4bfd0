import { connect, type Socket } from "node:net"
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls"
import { AppError, errorText } from "../../errors.ts"
import { askingSide, duplexLink } from "../../link/index.ts"
import type { Link } from "../../link.ts"
import type { ClientMessage, DaemonMessage } from "../../protocol/index.ts"
import type { KeyPair } from "../credentials/operator-keys.ts"

export interface DialOptions {
  hostname: string
  port: number
  /** The operator is the TLS server although it dials; undefined for plain TCP. */
  identity: KeyPair | undefined
  /** How long a refused connection is tried again: an agent listens a moment after its container runs. */
  patienceMs: number
  signal: AbortSignal
}

const firstPauseMs = 10
const longestPauseMs = 250
/** One TCP connect and one handshake. */
const attemptMs = 5_000

/** @throws AppError "agent-not-started" */
export async function dialAgent(options: DialOptions): Promise<Link<DaemonMessage, ClientMessage>> {
  const until = Date.now() + options.patienceMs
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    try {
      const socket = await openSocket(options)
      return duplexLink(options.identity ? await secure(socket, options.identity) : socket, askingSide)
    } catch (cause) {
      if (options.signal.aborted) throw options.signal.reason
      if (Date.now() + pauseMs > until) {
        throw new AppError("agent-not-started", `The agent does not answer: ${errorText(cause)}`, {
          cause,
          next: "Check that network policies let the operator reach its agents.",
        })
      }
      await Bun.sleep(pauseMs)
    }
  }
}

function openSocket({ hostname, port, signal }: DialOptions): Promise<Socket> {
  return limited(signal, (resolve, reject) => {
    const socket = connect({ host: hostname, port, noDelay: true, allowHalfOpen: true })
    socket.once("connect", () => resolve(socket))
    socket.once("error", reject)
    return () => socket.destroy()
  })
}

/** A context of its own would cost every connection some tens of kilobytes. */
const contexts = new WeakMap<KeyPair, SecureContext>()

function contextOf(identity: KeyPair): SecureContext {
  const context = contexts.get(identity) ?? createSecureContext({ ...identity, minVersion: "TLSv1.2" })
  contexts.set(identity, context)
  return context
}

function secure(socket: Socket, identity: KeyPair): Promise<TLSSocket> {
  return limited(undefined, (resolve, reject) => {
    const tls = new TLSSocket(socket, { isServer: true, secureContext: contextOf(identity) })
    tls.once("secure", () => resolve(tls))
    tls.once("error", reject)
    socket.once("close", () => reject(new Error("closed during the TLS handshake")))
    return () => socket.destroy()
  })
}

/** Runs an attempt that `signal` or the clock may end; `start` returns what undoes it. */
function limited<T>(
  signal: AbortSignal | undefined,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  const undo = start(resolve, reject)
  const stop = () => reject(new Error("no answer in time"))
  const timer = setTimeout(stop, attemptMs)
  signal?.addEventListener("abort", stop)
  return promise
    .catch((error) => {
      undo()
      throw error
    })
    .finally(() => {
      clearTimeout(timer)
      signal?.removeEventListener("abort", stop)
    })
}
