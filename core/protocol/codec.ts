import type { Reader } from "./reader.ts"
import type { Writer } from "./writer.ts"

/** Reads and writes one type. `T` is its value in TypeScript. */
export interface Codec<T> {
  /** Fewest bytes a value takes; at least 1 for everything that stands in a collection. */
  readonly minBytes: number
  /** @throws `incomplete`, or AppError "protocol-…" */
  read(reader: Reader): T
  /** @throws AppError "protocol-bad-value" for a value the wire cannot hold or a mirrord peer would refuse */
  write(writer: Writer, value: T): void
  /** How the type is made, for whoever walks over bytes without building values. */
  readonly shape: Shape
}

export type Infer<C> = C extends Codec<infer T> ? T : never
// biome-ignore lint/suspicious/noExplicitAny: a codec is neither co- nor contravariant in its value
export type AnyCodec = Codec<any>

export type Shape =
  /** A fixed number of bytes; `allowed` is the largest valid value of a single one. */
  | { type: "fixed"; leaf: string; bytes: number; allowed?: number }
  /** A varint whose widest marker is `marker`. */
  | { type: "varint"; leaf: string; marker: number }
  | { type: "bytes"; leaf: string }
  | { type: "struct"; fields: readonly (readonly [string, AnyCodec])[] }
  | { type: "tuple"; items: readonly AnyCodec[] }
  | { type: "variants"; name: string; cases: readonly (readonly [string, AnyCodec])[] }
  | { type: "option"; of: AnyCodec }
  | { type: "repeat"; leaf: "list" | "set" | "map" | "headers"; of: AnyCodec }
  | { type: "nested"; of: () => AnyCodec }
