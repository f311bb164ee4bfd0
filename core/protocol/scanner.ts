import { AppError } from "../errors.ts"
import type { AnyCodec, Shape } from "./codec.ts"
import { badOption, badTag } from "./composites.ts"
import type { Limits } from "./limits.ts"
import { tooDeep, tooLarge, wide } from "./reader.ts"

/** What is still to be passed over: a type once, or elements of a collection. */
interface Step {
  shape: Shape
  left: number
  depth: number
}

/** Bytes behind an integer's marker. */
const widths: Readonly<Record<number, number>> = { 251: 2, 252: 4, 253: 8, 254: 16 }
const lengthMarker = 253

/**
 * Finds the end of one message in chunks as they come, without building values, and never looks at a byte twice: so a
 * message in a thousand pieces costs no more than in one. Tags, markers and limits are checked, contents are not.
 */
export class MessageScanner {
  readonly #limits: Limits
  #steps: Step[]
  /** Bytes to pass over before the next step. */
  #skip = 0
  /** An integer that is cut: its marker, and what came of it. */
  #marker = 0
  #partial: number[] = []
  #scanned = 0
  #items = 0

  constructor(codec: AnyCodec, limits: Limits) {
    this.#limits = limits
    this.#steps = [{ shape: codec.shape, left: 1, depth: 0 }]
  }

  /** Takes the next chunk; the number of its bytes that belong to the message when it ends there, else undefined. */
  scan(chunk: Uint8Array): number | undefined {
    let at = 0
    for (;;) {
      const passed = Math.min(this.#skip, chunk.length - at)
      this.#skip -= passed
      at += passed
      if (this.#skip > 0) break
      const step = this.#steps.at(-1)
      if (step === undefined) return at
      if (step.left === 0) {
        this.#steps.pop()
        continue
      }
      const next = this.#advance(step, chunk, at)
      if (next === undefined) break
      at = next
    }
    this.#scanned += chunk.length
    if (this.#scanned + this.#skip > this.#limits.maxMessageBytes) {
      throw tooLarge(this.#scanned + this.#skip, this.#limits.maxMessageBytes)
    }
    return undefined
  }

  /** Where to go on after one element of a step; undefined when the chunk ends inside an integer. */
  #advance(step: Step, chunk: Uint8Array, at: number): number | undefined {
    const { shape, depth } = step
    switch (shape.type) {
      case "struct":
        step.left--
        for (let i = shape.fields.length - 1; i >= 0; i--) this.#push(shape.fields[i]![1], depth)
        return at
      case "tuple":
        step.left--
        for (let i = shape.items.length - 1; i >= 0; i--) this.#push(shape.items[i]!, depth)
        return at
      case "nested":
        if (depth + 1 > this.#limits.maxNesting) throw tooDeep(this.#limits.maxNesting)
        step.left--
        this.#push(shape.of(), depth + 1)
        return at
      case "fixed":
        if (shape.allowed !== undefined) return this.#smallByte(step, chunk, at, shape.allowed)
        step.left--
        this.#skip = shape.bytes
        return at
      case "option":
        return this.#option(step, chunk, at, shape.of)
      case "varint":
        return this.#integer(chunk, at, shape.leaf, shape.marker, () => step.left--)
      case "variants":
        return this.#integer(chunk, at, "u32", 252, (tag) => {
          const found = shape.cases[tag]
          if (found === undefined) throw badTag(shape.name, tag)
          step.left--
          this.#push(found[1], depth)
        })
      case "bytes":
        return this.#integer(chunk, at, "length", lengthMarker, (length) => {
          step.left--
          this.#skip = length
        })
      case "repeat":
        return this.#integer(chunk, at, "length", lengthMarker, (count) => {
          step.left--
          this.#count(count)
          this.#steps.push({ shape: shape.of.shape, left: count, depth })
        })
    }
  }

  #push(codec: AnyCodec, depth: number): void {
    this.#steps.push({ shape: codec.shape, left: 1, depth })
  }

  #count(count: number): void {
    if ((this.#items += count) > this.#limits.maxItems) {
      throw new AppError("protocol-too-many", `A message with more than ${this.#limits.maxItems} elements was received`)
    }
  }

  #smallByte(step: Step, chunk: Uint8Array, at: number, allowed: number): number | undefined {
    const byte = chunk[at]
    if (byte === undefined) return undefined
    if (byte > allowed) throw new AppError("protocol-bad-bool", `Byte ${byte} stands where only 0 and 1 may`)
    step.left--
    return at + 1
  }

  #option(step: Step, chunk: Uint8Array, at: number, of: AnyCodec): number | undefined {
    const marker = chunk[at]
    if (marker === undefined) return undefined
    if (marker > 1) throw badOption(marker)
    step.left--
    if (marker === 1) this.#push(of, step.depth)
    return at + 1
  }

  /** Reads an integer that may have begun in an earlier chunk. */
  #integer(
    chunk: Uint8Array,
    from: number,
    type: string,
    widest: number,
    use: (value: number) => void,
  ): number | undefined {
    let at = from
    if (this.#marker === 0) {
      const first = chunk[at++]
      if (first === undefined) return undefined
      if (first < 251) {
        use(first)
        return at
      }
      if (first > widest) throw wide(type, first)
      this.#marker = first
    }
    const width = widths[this.#marker]!
    while (this.#partial.length < width) {
      const byte = chunk[at++]
      if (byte === undefined) return undefined
      this.#partial.push(byte)
    }
    const value = this.#partial.reduceRight((high, byte) => high * 256 + byte, 0)
    this.#marker = 0
    this.#partial = []
    if (type === "length" && value > this.#limits.maxMessageBytes) throw tooLarge(value, this.#limits.maxMessageBytes)
    use(value)
    return at
  }
}
