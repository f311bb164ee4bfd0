/** A point in time as a place on earth writes it. */
export interface Moment {
  /** Since 1970, UTC. */
  ms: number
  /** East of Greenwich; unknown for a bare time stamp. */
  offsetMinutes?: number
  /** "UTC", "EST". */
  zoneName?: string
}

export function localMoment(ms: number): Moment {
  return { ms, offsetMinutes: -new Date(ms).getTimezoneOffset() }
}

/** @throws Error for a zone nobody knows */
export function momentIn(ms: number, zone: string): Moment {
  const part = (style: "longOffset" | "short") => {
    try {
      const format = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: style })
      return format.formatToParts(ms).find(({ type }) => type === "timeZoneName")!.value
    } catch (cause) {
      throw new Error(`there is no time zone "${zone}"`, { cause })
    }
  }
  const [, sign = "+", hours = "0", minutes = "0"] = /([+-])(\d+):(\d+)/.exec(part("longOffset")) ?? []
  const offsetMinutes = (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
  return { ms, offsetMinutes, zoneName: part("short") }
}

/** "+05:30", or with another mark between hours and minutes. */
export function offsetText(offsetMinutes: number, between = ":"): string {
  const all = Math.abs(offsetMinutes)
  const two = (value: number) => String(value).padStart(2, "0")
  return `${offsetMinutes < 0 ? "-" : "+"}${two(Math.trunc(all / 60))}${between}${two(all % 60)}`
}

/** "2024-05-06T07:08:09.123+02:00" */
export function rfc3339({ ms, offsetMinutes = 0 }: Moment): string {
  return new Date(ms + offsetMinutes * 60_000).toISOString().replace("Z", offsetText(offsetMinutes))
}

/** The moment a text or a number of seconds stands for. @throws Error when it is none */
export function readMoment(value: string | number): Moment {
  if (typeof value === "number") {
    if (!Number.isSafeInteger(value) || Math.abs(value) > 8.64e12)
      throw new Error(`${value} is no time stamp in seconds`)
    return { ms: value * 1000 }
  }
  const form = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|z|[+-]\d{2}:?\d{2})?)?$/.exec(value.trim())
  const [, day = "", time = "00:00:00", fraction = "", zone] = form ?? []
  const ms = Date.parse(`${day}T${time}.${fraction.slice(0, 3).padEnd(3, "0")}Z`)
  // A day that does not exist would be counted into the next month.
  if (form === null || Number.isNaN(ms) || !new Date(ms).toISOString().startsWith(day)) {
    throw new Error(`"${value}" is no date like 2024-05-06 or 2024-05-06T07:08:09Z`)
  }
  if (zone === undefined) return { ms, offsetMinutes: 0, zoneName: "UTC" }
  const [, sign, hours, minutes] = /([+-])(\d{2}):?(\d{2})/.exec(zone) ?? [zone, "+", "0", "0"]
  const offsetMinutes = (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes))
  return { ms: ms - offsetMinutes * 60_000, offsetMinutes }
}
