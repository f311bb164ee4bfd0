import { momentIn, readMoment } from "./moment.ts"
import { strftime } from "./strftime.ts"
import { type Arguments, argument, text, type Value } from "./value.ts"

/** The filter `date`: a time stamp in seconds or a date in ISO 8601, written as `format` says. */
export function date(value: Value, args: Arguments): string {
  if (typeof value !== "string" && typeof value !== "number") throw new Error("a time stamp or a date is expected")
  const moment = readMoment(value)
  const zone = argument(args, "timezone", text, "")
  // Dates without a time of day or a zone of their own are not moved to another.
  const movable = typeof value === "number" || (moment.zoneName === undefined && zone !== "")
  const shown = zone !== "" && movable ? momentIn(moment.ms, zone) : moment
  return strftime(shown, argument(args, "format", text, "%Y-%m-%d"))
}
