import type { Codec, Infer } from "./codec.ts"
import { badTag, struct, variants } from "./composites.ts"
import { formatIp, parseIp } from "./ip.ts"
import { bytes, none, str, u16 } from "./primitives.ts"

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

const unixAddr = variants("UnixAddr", {
  Pathname: str,
  /** Without the leading NUL. */
  Abstract: bytes,
  Unnamed: none,
})
export type UnixAddr = Infer<typeof unixAddr>

export const socketAddress = variants("SocketAddress", { Ip: sockaddr, Unix: unixAddr })
export type SocketAddress = Infer<typeof socketAddress>
