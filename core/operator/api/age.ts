/*
 * Ages as kubectl's tables show them: two units at most, one where the second would tell little.
 * Source: k8s.io/apimachinery, util/duration, HumanDuration.
 */

const [minute, hour, day, year] = [60, 3_600, 86_400, 365 * 86_400]

/** Up to `below` seconds: the larger unit, and the smaller one as long as there are at most `both` seconds. */
const steps: readonly { below: number; unit: number; name: string; both?: number; smaller?: number; rest?: string }[] =
  [
    { below: 2 * minute, unit: 1, name: "s" },
    { below: 3 * hour, unit: minute, name: "m", both: 10 * minute, smaller: 1, rest: "s" },
    { below: 2 * day, unit: hour, name: "h", both: 8 * hour, smaller: minute, rest: "m" },
    { below: 2 * year, unit: day, name: "d", both: 8 * day, smaller: hour, rest: "h" },
    { below: Number.POSITIVE_INFINITY, unit: year, name: "y", both: 8 * year, smaller: day, rest: "d" },
  ]

/** @param since RFC 3339; a moment that is still to come is now */
export function age(since: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000))
  const { unit, name, both = 0, smaller = 1, rest } = steps.find(({ below }) => seconds < below)!
  const more = Math.floor((seconds % unit) / smaller)
  return `${Math.floor(seconds / unit)}${name}${seconds < both && more > 0 ? `${more}${rest}` : ""}`
}
