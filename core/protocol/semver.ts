import { AppError } from "../errors.ts"
import type { Codec } from "./codec.ts"
import { badValue, str } from "./primitives.ts"

const number = "(0|[1-9]\\d*)"
const identifiers = "[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*"
const pattern = new RegExp(`^${number}\\.${number}\\.${number}(?:-(${identifiers}))?(?:\\+${identifiers})?$`)
const largestPart = 0xffff_ffff_ffff_ffffn

interface Parsed {
  numbers: [bigint, bigint, bigint]
  prerelease: string[]
}

function parse(text: string): Parsed | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const numbers = [BigInt(match[1]!), BigInt(match[2]!), BigInt(match[3]!)] as Parsed["numbers"]
  const prerelease = match[4] === undefined ? [] : match[4].split(".")
  if (numbers.some((part) => part > largestPart)) return undefined
  if (prerelease.some((part) => /^0\d+$/.test(part))) return undefined
  return { numbers, prerelease }
}

/** Negative when `a` is the older version; build metadata does not count. @throws AppError "protocol-bad-version" */
export function compareVersions(a: string, b: string): number {
  const left = parsed(a)
  const right = parsed(b)
  for (const index of [0, 1, 2] as const) {
    if (left.numbers[index] !== right.numbers[index]) return left.numbers[index] < right.numbers[index] ? -1 : 1
  }
  return comparePrereleases(left.prerelease, right.prerelease)
}

function comparePrereleases(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return b.length - a.length
  for (const [index, left] of a.entries()) {
    const right = b[index]
    if (right === undefined) return 1
    if (left === right) continue
    const numeric = [/^\d+$/.test(left), /^\d+$/.test(right)]
    if (numeric[0] && numeric[1]) return BigInt(left) < BigInt(right) ? -1 : 1
    if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1
    return left < right ? -1 : 1
  }
  return a.length - b.length
}

function parsed(text: string): Parsed {
  const version = parse(text)
  if (version === undefined) throw new AppError("protocol-bad-version", `"${text}" is not a semantic version`)
  return version
}

export const semver: Codec<string> = {
  ...str,
  read(reader) {
    const text = reader.text()
    parsed(text)
    return text
  },
  write(writer, text) {
    if (parse(text) === undefined) throw badValue(`"${text}" as a semantic version`)
    writer.text(text)
  },
}
