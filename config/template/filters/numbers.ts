import { argument, integer, number, text, truth } from "../value.ts"
import type { Filter } from "./filter.ts"

const roundings: Readonly<Record<string, (value: number) => number>> = {
  // Halves go away from zero, on both sides of it.
  common: (value) => Math.sign(value) * Math.round(Math.abs(value)),
  ceil: Math.ceil,
  floor: Math.floor,
}

/** Filters of numbers. */
export const numberFilters: Readonly<Record<string, Filter>> = {
  abs: (value) => Math.abs(number(value)),
  round(value, args) {
    const round = roundings[argument(args, "method", text, "common")]
    if (round === undefined) throw new Error('"method" is common, ceil or floor')
    const scale = 10 ** argument(args, "precision", integer, 0)
    return round(number(value) * scale) / scale
  },
  pluralize: (value, args) =>
    Math.abs(number(value)) === 1 ? argument(args, "singular", text, "") : argument(args, "plural", text, "s"),
  filesizeformat(value, args) {
    const bytes = integer(value)
    if (bytes < 0) throw new Error("a size is not negative")
    const units = argument(args, "binary", truth, false)
      ? ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
      : ["B", "kB", "MB", "GB", "TB", "PB"]
    const power = Math.min(units.length - 1, bytes === 0 ? 0 : Math.floor(Math.log2(bytes) / 10))
    const scaled = bytes / 1024 ** power
    return `${Number.isInteger(scaled) ? scaled : scaled.toFixed(2)} ${units[power]}`
  },
}
