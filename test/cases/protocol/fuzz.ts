import { AppError } from "../../../core/errors.ts"
import { type Limits, type MessageCodec, MessageDecoder } from "../../../core/protocol/index.ts"
import type { GoldenMessage } from "./vectors.ts"

/** Small, so that whatever gets past a limit shows. */
const limits: Limits = { maxMessageBytes: 64 * 1024, maxItems: 2000, maxNesting: 8 }
/** One in this many decoded messages is also encoded again. */
const encodeAgainEvery = 8

export interface FuzzTally {
  message: number
  incomplete: number
  /** AppErrors by code. */
  errors: Map<string, number>
}

/**
 * Decodes `cases` hostile inputs, whole and cut into chunks. Repeatable by `seed`.
 * @throws Error with the input in hexadecimal, when anything but incomplete, a message or an AppError with a code comes out
 */
export function fuzz(golden: readonly GoldenMessage[], cases: number, seed: number): FuzzTally {
  const random = randomNumbers(seed)
  const tally: FuzzTally = { message: 0, incomplete: 0, errors: new Map() }
  for (let i = 0; i < cases; i++) {
    const { codec } = golden[random(golden.length)]!
    const input = hostileInput(golden, random)
    try {
      const whole = outcome(codec, input)
      const cut = cutOutcome(codec, input, random)
      if (typeof whole === "string") tally.errors.set(whole, (tally.errors.get(whole) ?? 0) + 1)
      else if (whole === undefined) tally.incomplete++
      else {
        tally.message++
        if (!Bun.deepEquals(cut, whole)) throw new Error("cut into chunks it reads differently")
        if (i % encodeAgainEvery === 0) encodeAgain(codec, whole)
      }
      if (whole === undefined && cut !== undefined && typeof cut !== "string")
        throw new Error("cut into chunks it is whole")
    } catch (thrown) {
      throw new Error(`seed ${seed}, case ${i}: ${input.subarray(0, 400).toHex()}`, { cause: thrown })
    }
  }
  return tally
}

/** The first message as an object, undefined for incomplete, or an error's code. */
function outcome(codec: MessageCodec<unknown>, input: Uint8Array): object | string | undefined {
  return attempt(() => codec.decodeFirst(input, limits)?.message as object | undefined)
}

function cutOutcome(codec: MessageCodec<unknown>, input: Uint8Array, random: Random): object | string | undefined {
  const decoder = new MessageDecoder(codec, limits)
  let first: object | undefined
  const failed = attempt(() => {
    for (let at = 0; at < input.length && first === undefined; ) {
      const size = 1 + random(20)
      decoder.push(input.subarray(at, at + size), (message) => (first ??= message as object))
      if (decoder.heldBytes > limits.maxMessageBytes + size) throw new Error(`${decoder.heldBytes} bytes are held`)
      at += size
    }
    return undefined
  })
  return first ?? failed
}

function attempt(run: () => object | undefined): object | string | undefined {
  try {
    return run()
  } catch (thrown) {
    if (thrown instanceof AppError && thrown.code.startsWith("protocol-")) return thrown.code
    throw thrown
  }
}

/** Whatever was decoded can be sent, and means the same. */
function encodeAgain(codec: MessageCodec<unknown>, message: object): void {
  const again = codec.decode(codec.encode(message))
  if (!Bun.deepEquals(again, message)) throw new Error("it does not survive encoding")
}

type Random = (limit: number) => number

function randomNumbers(seed: number): Random {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) % limit
  }
}

const interesting = [0, 1, 2, 3, 7, 127, 128, 250, 251, 252, 253, 254, 255]

function hostileInput(golden: readonly GoldenMessage[], random: Random): Uint8Array {
  const pick = () => {
    const { bytes } = golden[random(golden.length)]!
    return bytes.length > 2048 ? bytes.slice(0, 2048) : bytes.slice()
  }
  switch (random(8)) {
    case 0:
      return Uint8Array.from({ length: random(64) }, () => random(256))
    case 1:
      return Uint8Array.from({ length: random(64) }, () => interesting[random(interesting.length)]!)
    case 2:
      return hostileLength(pick(), random)
    case 3:
      return deepFilter(1 + random(40), random)
    case 4:
      return Buffer.concat([pick().subarray(0, random(64)), pick().subarray(random(64))])
    default:
      return mutated(pick(), random)
  }
}

function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  for (let left = 1 + random(3); left > 0 && bytes.length > 0; left--) {
    const at = random(bytes.length)
    bytes[at] = random(2) === 0 ? interesting[random(interesting.length)]! : bytes[at]! ^ (1 << random(8))
  }
  return random(4) === 0 ? bytes.subarray(0, random(bytes.length + 1)) : bytes
}

/** A huge length where something else stood. */
function hostileLength(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random(bytes.length + 1)
  const marker = 251 + random(4)
  const length = Uint8Array.from({ length: 2 ** (marker - 250) }, () => (random(3) === 0 ? random(256) : 255))
  return Buffer.concat([bytes.subarray(0, at), Uint8Array.of(marker), length, bytes.subarray(at)])
}

/** A steal subscription whose filter nests as deep as told. */
function deepFilter(depth: number, random: Random): Uint8Array {
  const levels = Array.from({ length: depth }, () => [2, random(2), 1]).flat()
  return Uint8Array.from([2, 0, 2, 80, ...levels, 3, 0])
}
