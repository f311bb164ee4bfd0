import { AppError } from "../errors.ts"
import type { AnyCodec, Codec, Infer } from "./codec.ts"
import { badValue } from "./primitives.ts"

type Fields = Record<string, AnyCodec>

/** Fields one after the other, in the order of the object's keys. */
export function struct<F extends Fields>(fields: F): Codec<{ [K in keyof F]: Infer<F[K]> }> {
  const entries = Object.entries(fields)
  return {
    minBytes: entries.reduce((sum, [, codec]) => sum + codec.minBytes, 0),
    read(reader) {
      const value: Record<string, unknown> = {}
      for (const [key, codec] of entries) value[key] = codec.read(reader)
      return value as never
    },
    write(writer, value) {
      for (const [key, codec] of entries) codec.write(writer, value[key as keyof F])
    },
    shape: { type: "struct", fields: entries },
  }
}

/** A fixed number of values without names. */
export function tuple<const I extends readonly AnyCodec[]>(
  ...items: I
): Codec<{ -readonly [K in keyof I]: Infer<I[K]> }> {
  return {
    minBytes: items.reduce((sum, codec) => sum + codec.minBytes, 0),
    read: (reader) => items.map((codec) => codec.read(reader)) as never,
    write(writer, value) {
      items.forEach((codec, index) => {
        codec.write(writer, value[index])
      })
    },
    shape: { type: "tuple", items },
  }
}

type Cases<F extends Fields> = {
  [K in keyof F]: [Infer<F[K]>] extends [undefined] ? { kind: K } : { kind: K; value: Infer<F[K]> }
}[keyof F]

/** One of several cases; the tag on the wire is the position of its key. A case of `none` has no `value`. */
export function variants<F extends Fields>(name: string, cases: F): Codec<Cases<F>> {
  const entries = Object.entries(cases)
  const tags = new Map(entries.map(([kind], tag) => [kind, tag]))
  const empty = entries.map(([kind, codec]) => (isNone(codec) ? Object.freeze({ kind }) : undefined))
  return {
    minBytes: 1 + Math.min(...entries.map(([, codec]) => codec.minBytes)),
    read(reader) {
      const tag = reader.u32()
      const entry = entries[tag]
      if (entry === undefined) throw badTag(name, tag)
      return (empty[tag] ?? { kind: entry[0], value: entry[1].read(reader) }) as never
    },
    write(writer, variant) {
      const { kind, value } = variant as { kind: string; value?: unknown }
      const tag = tags.get(kind)
      if (tag === undefined) throw badValue(`"${kind}" as ${name}`)
      writer.varint(tag)
      entries[tag]![1].write(writer, value)
    },
    shape: { type: "variants", name, cases: entries },
  }
}

export function badTag(name: string, tag: number): AppError {
  return new AppError("protocol-bad-tag", `${name} has no variant ${tag}`, {
    next: "The peer speaks a newer or another protocol; compare the versions of both ends.",
  })
}

function isNone(codec: AnyCodec): boolean {
  return codec.shape.type === "fixed" && codec.shape.leaf === "none"
}

export function option<T>(of: Codec<T>): Codec<T | null> {
  return {
    minBytes: 1,
    read(reader) {
      const marker = reader.u8()
      if (marker > 1) throw badOption(marker)
      return marker === 1 ? of.read(reader) : null
    },
    write(writer, value) {
      writer.u8(value === null ? 0 : 1)
      if (value !== null) of.write(writer, value)
    },
    shape: { type: "option", of },
  }
}

export function badOption(marker: number): AppError {
  return new AppError("protocol-bad-option", `Byte ${marker} stands where only 0 and 1 may`)
}

export function list<T>(of: Codec<T>): Codec<T[]> {
  return {
    minBytes: 1,
    read(reader) {
      const values = new Array<T>(reader.count(of.minBytes))
      for (let i = 0; i < values.length; i++) values[i] = of.read(reader)
      return values
    },
    write(writer, values) {
      writer.varint(values.length)
      for (const value of values) of.write(writer, value)
    },
    shape: { type: "repeat", leaf: "list", of },
  }
}

/** An array without repetitions; the order means nothing. */
export function set<T>(of: Codec<T>): Codec<T[]> {
  const inner = list(of)
  return {
    minBytes: 1,
    read: (reader) => [...new Set(inner.read(reader))],
    write: (writer, values) => inner.write(writer, [...new Set(values)]),
    shape: { type: "repeat", leaf: "set", of },
  }
}

/** The order means nothing; of a repeated key the last value counts. */
export function map<K, V>(key: Codec<K>, value: Codec<V>): Codec<Map<K, V>> {
  const entry = tuple(key, value)
  return {
    minBytes: 1,
    read(reader) {
      const values = new Map<K, V>()
      for (let left = reader.count(entry.minBytes); left > 0; left--) {
        const name = key.read(reader)
        values.set(name, value.read(reader))
      }
      return values
    },
    write(writer, values) {
      writer.varint(values.size)
      for (const [name, content] of values) {
        key.write(writer, name)
        value.write(writer, content)
      }
    },
    shape: { type: "repeat", leaf: "map", of: entry },
  }
}

/** A type that contains itself; each level counts as nesting. `minBytes` is that of its smallest value. */
export function nested<T>(minBytes: number, of: () => Codec<T>): Codec<T> {
  return {
    minBytes,
    read: (reader) => reader.nested((inner) => of().read(inner)),
    write: (writer, value) => of().write(writer, value),
    shape: { type: "nested", of },
  }
}
