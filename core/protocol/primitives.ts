import { AppError } from "../errors.ts"
import type { Codec, Shape } from "./codec.ts"

const fixed = (leaf: string, bytes: number, allowed?: number): Shape => ({ type: "fixed", leaf, bytes, allowed })
const varint = (leaf: string, marker: number): Shape => ({ type: "varint", leaf, marker })

export function badValue(what: string): AppError {
  return new AppError("protocol-bad-value", `Cannot send ${what}`)
}

function checked(value: number, low: number, high: number, type: string): number {
  if (!Number.isInteger(value) || value < low || value > high) throw badValue(`${value} as ${type}`)
  return value
}

function checkedBig(value: bigint, low: bigint, high: bigint, type: string): bigint {
  if (typeof value !== "bigint" || value < low || value > high) throw badValue(`${value} as ${type}`)
  return value
}

/** No bytes at all: the content of a variant that has none. */
export const none: Codec<undefined> = {
  minBytes: 0,
  read: () => undefined,
  write: () => {},
  shape: fixed("none", 0),
}

/** No bytes, where a value is expected: the success of an operation without an answer. */
export const unit: Codec<null> = { minBytes: 0, read: () => null, write: () => {}, shape: fixed("unit", 0) }

/** One raw byte, not a varint. */
export const u8: Codec<number> = {
  minBytes: 1,
  read: (reader) => reader.u8(),
  write: (writer, value) => writer.u8(checked(value, 0, 255, "u8")),
  shape: fixed("u8", 1),
}

export const bool: Codec<boolean> = {
  minBytes: 1,
  read(reader) {
    const byte = reader.u8()
    if (byte > 1) throw new AppError("protocol-bad-bool", `Byte ${byte} stands where only 0 and 1 may`)
    return byte === 1
  },
  write: (writer, value) => writer.u8(value ? 1 : 0),
  shape: fixed("bool", 1, 1),
}

export const u16: Codec<number> = {
  minBytes: 1,
  read: (reader) => reader.u16(),
  write: (writer, value) => writer.varint(checked(value, 0, 0xffff, "u16")),
  shape: varint("u16", 251),
}

export const u32: Codec<number> = {
  minBytes: 1,
  read: (reader) => reader.u32(),
  write: (writer, value) => writer.varint(checked(value, 0, 0xffff_ffff, "u32")),
  shape: varint("u32", 252),
}

export const u64: Codec<bigint> = {
  minBytes: 1,
  read: (reader) => reader.u64(),
  write: (writer, value) => writer.bigVarint(checkedBig(value, 0n, 0xffff_ffff_ffff_ffffn, "u64")),
  shape: varint("u64", 253),
}

export const u128: Codec<bigint> = {
  minBytes: 1,
  read: (reader) => reader.u128(),
  write: (writer, value) => writer.bigVarint(checkedBig(value, 0n, (1n << 128n) - 1n, "u128")),
  shape: varint("u128", 254),
}

/** Zigzag: 0, -1, 1, -2 … are 0, 1, 2, 3 … */
export const i32: Codec<number> = {
  minBytes: 1,
  read(reader) {
    const zigzag = reader.u32()
    return (zigzag >>> 1) ^ -(zigzag & 1)
  },
  write(writer, value) {
    checked(value, -0x8000_0000, 0x7fff_ffff, "i32")
    writer.varint(value >= 0 ? value * 2 : -value * 2 - 1)
  },
  shape: varint("i32", 252),
}

export const i64: Codec<bigint> = {
  minBytes: 1,
  read(reader) {
    const zigzag = reader.u64()
    return (zigzag >> 1n) ^ -(zigzag & 1n)
  },
  write(writer, value) {
    checkedBig(value, -0x8000_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn, "i64")
    writer.bigVarint(value >= 0n ? value * 2n : -value * 2n - 1n)
  },
  shape: varint("i64", 253),
}

/** UTF-8, also for paths: a path that is not UTF-8 cannot be sent. */
export const str: Codec<string> = {
  minBytes: 1,
  read: (reader) => reader.text(),
  write: (writer, value) => writer.text(value),
  shape: { type: "bytes", leaf: "str" },
}

/** A payload. Decoded ones are views into the received chunk; encoded ones must not be changed after sending. */
export const bytes: Codec<Uint8Array> = {
  minBytes: 1,
  read: (reader) => reader.payload(),
  write: (writer, value) => writer.payload(value),
  shape: { type: "bytes", leaf: "bytes" },
}
