import type { Codec, Infer } from "./codec.ts"
import { badTag, mapped, struct, variants } from "./composites.ts"
import { formatIp, parseIp } from "./ip.ts"
import { badValue, bytes, none, str, u16, u128 } from "./primitives.ts"

/** Raw bytes of a fixed number, network byte order. */
function octets(length: number): Codec<Uint8Array> {
  return {
    minBytes: length,
    read: (reader) => reader.raw(length),
    write: (writer, value) => writer.raw(value),
    shape: { type: "fixed", leaf: "octets", bytes: length },
  }
}

/** Tag 0 and 4 bytes (IPv4) or tag 1 and 16 bytes (IPv6); the value is the address in text form. */
export const ip: Codec<string> = {
  minBytes: 5,
  read(reader) {
    const tag = reader.u32()
    if (tag > 1) throw badTag("IpAddr", tag)
    return formatIp(reader.raw(tag === 0 ? 4 : 16))
  },
  write(writer, text) {
    const address = parseIp(text)
    writer.varint(address.length === 4 ? 0 : 1)
    writer.raw(address)
  },
  shape: variants("IpAddr", { V4: octets(4), V6: octets(16) }).shape,
}

/** Flow and scope of IPv6 do not travel. */
export const sockaddr = struct({ ip, port: u16 })

/** A UUID in its usual text form; on the wire its number as u128. */
export const uid: Codec<string> = mapped(u128, formatUuid, parseUuid)

function formatUuid(number: bigint): string {
  const hex = number.toString(16).padStart(32, "0")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function parseUuid(text: string): bigint {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) throw badValue(`"${text}" as a UUID`)
  return BigInt(`0x${text.replaceAll("-", "")}`)
}

const unixAddr = variants("UnixAddr", {
  Pathname: str,
  /** Without the leading NUL. */
  Abstract: bytes,
  Unnamed: none,
})
export type UnixAddr = Infer<typeof unixAddr>

export const socketAddress = variants("SocketAddress", { Ip: sockaddr, Unix: unixAddr })
export type SocketAddress = Infer<typeof socketAddress>
