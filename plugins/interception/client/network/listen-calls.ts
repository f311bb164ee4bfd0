import { ErrnoError } from "../../../../core/client/engine.ts"
import type { Endpoint } from "../../../../core/interceptor.ts"
import { isNonBlocking, withoutBlocking } from "../../../../core/linux/blocking.ts"
import { errno } from "../../../../core/linux/errno.ts"
import { SOCK_STREAM } from "../../../../core/linux/socket.ts"
import { AF_INET, AF_INET6, decodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { syscall } from "../../../../core/linux/syscall.ts"
import { type Answer, type Call, failure, type Handlers, proceed, success } from "../kernel/call.ts"
import { O_CLOEXEC } from "../kernel/notification.ts"
import {
  addressBytes,
  addressFor,
  endpointName,
  fitting,
  isLoopback,
  isUnspecified,
  readAddress,
  socketFamily,
  socketType,
  writeAddress,
} from "../kernel/socket-info.ts"
import { fetchDescriptor, withDescriptor } from "../kernel/tracee.ts"
import type { NetworkSupervision } from "../supervision.ts"
import { EPOLLIN } from "../watch/readiness.ts"

const SHUT_RDWR = 2
const SOCK_NONBLOCK = 0o4000
/** Reasons to try another place than the one a program asked for. */
const movable: readonly number[] = [errno.EACCES, errno.EADDRINUSE, errno.EADDRNOTAVAIL]

/** bind, listen, accept: listeners of the program, which the pod's callers reach. */
export function listenCalls({ world, listeners, waits }: NetworkSupervision): Handlers {
  function bind(call: Call): Answer {
    const address = readAddress(call, 1, 2)
    const requested = decodeEndpoint(address)
    if (!requested) return proceed
    return withDescriptor(call.tid, call.int(0), (fd) => {
      const family = socketFamily(fd)
      if (address.readUInt16LE(0) !== family) return proceed
      if (socketType(fd) !== SOCK_STREAM) return bindAsAsked(fd, family, address, requested)
      if (requested.port === 0) {
        listeners.remember(fd, requested)
        return bindAsAsked(fd, family, address, requested)
      }
      const given = world.incoming?.listenPort?.(requested.port)
      if (given !== undefined) return bindExactly(fd, family, { ip: requested.ip, port: given }, requested)
      if (!world.incoming?.wants(requested)) return proceed
      return bindSomewhere(fd, family, address, requested)
    })
  }

  /** To the port asked for, but on this machine when the address is the pod's: what is sent from there comes from the pod anyway. */
  function bindAsAsked(fd: number, family: number, address: Buffer, requested: Endpoint): Answer {
    const ip = fallbackFor(requested.ip)
    if (ip === undefined) return proceed
    let result = syscall("bind", fd, ...sized(address))
    if (result === -errno.EADDRNOTAVAIL)
      result = syscall("bind", fd, ...sized(addressFor(family, { ip, port: requested.port })))
    return result < 0 ? failure(-result) : success
  }

  /** To the port the user chose for it, or not at all. */
  function bindExactly(fd: number, family: number, place: Endpoint, requested: Endpoint): Answer {
    let result = syscall("bind", fd, ...sized(addressFor(family, place)))
    const ip = fallbackFor(place.ip)
    if (result === -errno.EADDRNOTAVAIL && ip !== undefined) {
      result = syscall("bind", fd, ...sized(addressFor(family, { ip, port: place.port })))
    }
    return done(result, fd, requested)
  }

  function bindSomewhere(fd: number, family: number, address: Buffer, requested: Endpoint): Answer {
    const attempt = (place: Uint8Array) => syscall("bind", fd, place, place.length)
    const first = attempt(address)
    if (first >= 0) return success
    if (!movable.includes(-first)) return failure(-first)
    // What the program has there already is in the way as it would be in the pod, wherever it really is.
    const own = listeners.inTheWayOf(requested)?.local.port
    const places: Endpoint[] = [{ ip: requested.ip, port: own ?? 0 }]
    const ip = fallbackFor(requested.ip)
    if (ip !== undefined)
      places.push(...(own === undefined ? [requested.port, 0] : [own]).map((port) => ({ ip, port })))
    let result = first
    for (const place of places) {
      result = attempt(addressFor(family, place))
      if (result >= 0) break
    }
    return done(result, fd, requested)
  }

  function done(result: number, fd: number, requested: Endpoint): Answer {
    if (result < 0) return failure(-result)
    listeners.remember(fd, requested)
    return success
  }

  async function listen(call: Call): Promise<Answer> {
    const fd = fetchDescriptor(call.tid, call.int(0))
    try {
      const family = socketFamily(fd)
      if ((family !== AF_INET && family !== AF_INET6) || socketType(fd) !== SOCK_STREAM) return proceed
      const incoming = world.incoming
      const own = endpointName("getsockname", fd)
      const requested = listeners.requestedFor(fd) ?? own
      if (!incoming || !own || own.port === 0 || !requested || listeners.isLive(fd)) return proceed
      const isHere = requested.port === 0 || incoming.isOff === true
      if (isHere ? !incoming.chosen : !incoming.wants(requested)) return proceed
      const result = syscall("listen", fd, call.int(1))
      if (result < 0) return failure(-result)
      if (isHere) {
        listeners.addChosen(own.port)
        return success
      }
      const listener = { requested, local: own }
      listeners.add(fd, listener)
      try {
        await incoming.listening(listener)
      } catch (thrown) {
        listeners.remove(fd)
        syscall("shutdown", fd, SHUT_RDWR)
        throw thrown instanceof ErrnoError ? thrown : new ErrnoError(errno.EADDRINUSE, String(thrown))
      }
      return success
    } finally {
      syscall("close", fd)
    }
  }

  function accept(call: Call): Promise<Answer> | Answer {
    const fd = fetchDescriptor(call.tid, call.int(0))
    let held = false
    try {
      if (!listeners.isLive(fd)) return proceed
      held = true
      return waits
        .interruptible(call, (given, abandoned) => acceptOne(call, fd, given, abandoned))
        .finally(() => syscall("close", fd))
    } finally {
      if (!held) syscall("close", fd)
    }
  }

  async function acceptOne(
    call: Call,
    listener: number,
    given: <T>(value: T, undo: (value: T) => void) => T,
    abandoned: Promise<never>,
  ): Promise<Answer> {
    const flags = call.name === "accept4" ? call.int(3) : 0
    const address = Buffer.alloc(addressBytes)
    const size = Buffer.alloc(4)
    for (;;) {
      size.writeUInt32LE(addressBytes)
      const made = withoutBlocking(listener, () =>
        syscall("accept4", listener, address, size, O_CLOEXEC | (flags & SOCK_NONBLOCK)),
      )
      if (made >= 0) {
        const raw = address.subarray(0, size.readUInt32LE(0))
        const close = (fd: number) => void syscall("close", fd)
        given(made, close)
        const origin = await originOf(decodeEndpoint(raw))
        const fd = given(made, close)
        try {
          writeAddress(call.tid, call.word(1), call.word(2), origin ? fitting(socketFamily(fd), origin) : raw)
        } catch (thrown) {
          close(fd)
          throw thrown
        }
        return { kind: "give", fd, closeOnExec: (flags & O_CLOEXEC) !== 0 }
      }
      if (made !== -errno.EAGAIN || isNonBlocking(listener)) return failure(-made)
      await waits.until(listener, EPOLLIN, abandoned)
    }
  }

  async function originOf(source: Endpoint | undefined): Promise<Endpoint | undefined> {
    return source && (await world.incoming?.peerOf(source))?.source
  }

  return { bind, listen, accept, accept4: accept }
}

const sized = (address: Uint8Array) => [address, address.length] as const

/** Where to listen instead of an address this machine does not have; undefined for those every machine has. */
function fallbackFor(ip: string): string | undefined {
  if (isLoopback(ip) || isUnspecified(ip)) return undefined
  return ip.includes(":") ? "::" : "127.0.0.1"
}
