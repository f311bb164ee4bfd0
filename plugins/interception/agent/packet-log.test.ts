import { describe, expect, test } from "bun:test"
import { attribute, be32 } from "../netlink.ts"
import { readPacketLog, readSegment } from "./packet-log.ts"

function tcp(text: string, flags = 0x18): Buffer {
  const header = Buffer.alloc(32)
  header.writeUInt16BE(40_000, 0)
  header.writeUInt16BE(80, 2)
  header.writeUInt32BE(0xffff_fff0, 4)
  header[12] = 8 << 4
  header[13] = flags
  return Buffer.concat([header, Buffer.from(text)])
}

function ip4(payload: Buffer, { options = 0, fragment = 0, protocol = 6, length = -1 } = {}): Buffer {
  const header = Buffer.alloc(20 + options)
  header[0] = 0x40 | (5 + options / 4)
  header.writeUInt16BE(length >= 0 ? length : header.length + payload.length, 2)
  header.writeUInt16BE(fragment, 6)
  header[9] = protocol
  header.set([10, 0, 0, 1, 10, 0, 0, 2], 12)
  return Buffer.concat([header, payload])
}

function ip6(payload: Buffer, next = 6): Buffer {
  const header = Buffer.alloc(40)
  header[0] = 0x60
  header.writeUInt16BE(payload.length, 4)
  header[6] = next
  header[23] = 1
  header[39] = 2
  return Buffer.concat([header, payload])
}

function message(...attributes: Buffer[]): Buffer {
  const body = Buffer.concat(attributes)
  const header = Buffer.alloc(20)
  header.writeUInt32LE(20 + body.length, 0)
  header.writeUInt16LE(0x400, 4)
  return Buffer.concat([header, body])
}

const logged = (number: number, packet: Buffer) => message(attribute(12, be32(number)), attribute(9, packet))

describe("a datagram of the log", () => {
  test("gives its packets with their numbers, whatever their padding", () => {
    const packets = [Buffer.from("a"), Buffer.from("abcd"), Buffer.from("abcdefg")]
    const datagram = Buffer.concat(packets.map((packet, at) => logged(0xffff_ffff - at, packet)))
    expect(readPacketLog(datagram)).toEqual(packets.map((packet, at) => ({ number: 0xffff_ffff - at, packet })))
  })

  test("is read only as far as its lengths fit", () => {
    const whole = logged(1, Buffer.from("abcd"))
    for (let length = 0; length < whole.length; length++) {
      expect(readPacketLog(Buffer.concat([whole, whole.subarray(0, length)]))).toHaveLength(1)
    }
    const endless = Buffer.from(whole)
    endless.writeUInt16LE(0, 20)
    expect(readPacketLog(endless)).toEqual([])
    const beyond = Buffer.from(whole)
    beyond.writeUInt16LE(0xffff, 20)
    expect(readPacketLog(beyond)).toEqual([])
  })
})

describe("a segment", () => {
  const expected = { sequence: 0xffff_fff0, syn: false, fin: false, rst: false, cut: false }

  test("is found behind the headers of either family", () => {
    const option = Buffer.from([6, 1, ...new Array(14).fill(0)])
    for (const packet of [ip4(tcp("hello")), ip4(tcp("hello"), { options: 8 }), ip6(tcp("hello"))]) {
      expect(readSegment(packet)).toMatchObject({ ...expected, bytes: Buffer.from("hello") })
    }
    expect(readSegment(ip6(Buffer.concat([option, tcp("hello")]), 60))?.bytes.toString()).toBe("hello")
  })

  test("tells its flags", () => {
    expect(readSegment(ip4(tcp("", 0x02)))).toMatchObject({ syn: true, fin: false, rst: false })
    expect(readSegment(ip4(tcp("", 0x11)))).toMatchObject({ syn: false, fin: true, rst: false })
    expect(readSegment(ip6(tcp("", 0x14)))).toMatchObject({ syn: false, fin: false, rst: true })
  })

  test("does not take padding behind the packet for data", () => {
    expect(readSegment(Buffer.concat([ip4(tcp("hello")), Buffer.alloc(6)]))?.bytes.toString()).toBe("hello")
  })

  test("says when the log holds only a part, also where the length does not fit its field", () => {
    expect(readSegment(ip4(tcp("hello")).subarray(0, -1))).toMatchObject({ cut: true, bytes: Buffer.from("hell") })
    expect(readSegment(ip4(tcp("hello"), { length: 0 }))?.cut).toBe(true)
    const jumbo = ip6(tcp("hello"))
    jumbo.writeUInt16BE(0, 4)
    expect(readSegment(jumbo)?.cut).toBe(true)
  })

  test("is not made of fragments, other protocols, or headers that do not fit", () => {
    expect(readSegment(ip4(tcp("hello"), { fragment: 0x2000 }))).toBeUndefined()
    expect(readSegment(ip4(tcp("hello"), { fragment: 8 }))).toBeUndefined()
    expect(readSegment(ip4(tcp("hello"), { protocol: 17 }))).toBeUndefined()
    expect(readSegment(ip6(tcp("hello"), 44))).toBeUndefined()
    const large = tcp("hello")
    large[12] = 15 << 4
    expect(readSegment(ip4(large))).toBeUndefined()
    large[12] = 4 << 4
    expect(readSegment(ip4(large))).toBeUndefined()
  })

  test("never throws, whatever the bytes and wherever they end", () => {
    for (const packet of [ip4(tcp("hello")), ip6(Buffer.concat([Buffer.alloc(80), tcp("hello")]), 0)]) {
      for (let length = 0; length <= packet.length; length++) readSegment(packet.subarray(0, length))
      for (let at = 0; at < packet.length; at++) {
        for (const value of [0, 0x0f, 0x45, 0x60, 0xff]) {
          const broken = Buffer.from(packet)
          broken[at] = value
          readSegment(broken)
          readPacketLog(broken)
        }
      }
    }
  })
})
