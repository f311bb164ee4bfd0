import type { DnsWorld, RemoteConnection } from "../../../../core/client/engine.ts"

type Handlers = Parameters<RemoteConnection["attach"]>[0]

/** Queries of one socket that wait for an answer; more are dropped (datagrams) or not read (streams). */
const maxWaiting = 256

/** A "remote connection" that is the resolver: every datagram is a query, every answer a datagram. */
export function dnsDatagrams(dns: DnsWorld): RemoteConnection {
  return resolver(dns, (data, ask) => {
    ask(data, (bytes) => bytes)
    return new Uint8Array(0)
  })
}

/** The same over TCP: two bytes of length, big-endian, before each message. */
export function dnsStream(dns: DnsWorld): RemoteConnection {
  return resolver(dns, (data, ask) => {
    let rest = data
    while (rest.length >= 2) {
      const length = (rest[0]! << 8) | rest[1]!
      if (rest.length < 2 + length || !ask(rest.slice(2, 2 + length), withLength)) break
      rest = rest.subarray(2 + length)
    }
    return rest
  })
}

/** False: too many wait, and this one is not taken. */
type Ask = (query: Uint8Array, pack: (bytes: Uint8Array) => Uint8Array) => boolean

/** `take` finds the queries in what came and returns what is left of it. */
function resolver(dns: DnsWorld, take: (data: Uint8Array, ask: Ask) => Uint8Array): RemoteConnection {
  let handlers: Handlers | undefined
  let left: Uint8Array = new Uint8Array(0)
  let waiting = 0
  let ended = false
  const endWhenDone = () => {
    if (ended && waiting === 0) handlers?.onEnd()
  }
  const isFull = () => waiting >= maxWaiting
  const ask: Ask = (query, pack) => {
    if (isFull()) return false
    waiting++
    dns
      .answer(query)
      .then((bytes) => handlers?.onData(pack(bytes)))
      .catch(() => {})
      .finally(() => {
        const wasFull = isFull()
        waiting--
        if (wasFull) {
          left = take(left, ask)
          if (!isFull()) handlers?.onDrain()
        }
        endWhenDone()
      })
    return true
  }
  return {
    write(data) {
      left = take(left.length > 0 ? Buffer.concat([left, data]) : data.slice(), ask).slice()
      return !isFull()
    },
    end() {
      ended = true
      endWhenDone()
    },
    close() {
      handlers = undefined
    },
    pause() {},
    resume() {},
    attach(given) {
      handlers = given
    },
  }
}

function withLength(bytes: Uint8Array): Uint8Array {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}
