import { type Moment, offsetText } from "./moment.ts"

const months = "January February March April May June July August September October November December".split(" ")
const days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ")
const dayMs = 86_400_000

/** A number, how many places it takes, and with what they are filled. */
type Field = { value: number; width: number; fill: "0" | " " }

const zeros = (value: number, width = 2): Field => ({ value, width, fill: "0" })
const blanks = (value: number, width = 2): Field => ({ value, width, fill: " " })

/** Formats that stand for several. */
const composed: Readonly<Record<string, string>> = {
  D: "%m/%d/%y",
  x: "%m/%d/%y",
  F: "%Y-%m-%d",
  v: "%e-%b-%Y",
  R: "%H:%M",
  T: "%H:%M:%S",
  X: "%H:%M:%S",
  r: "%I:%M:%S %p",
  c: "%a %b %e %H:%M:%S %Y",
  h: "%b",
  "+": "%Y-%m-%dT%H:%M:%S%.f%:z",
}

/**
 * Writes a moment in the words of strftime, as Rust's chrono has them: the usual ones, `%.3f` and `%3f` for parts of a
 * second, `%:z` for "+05:30", and `-`, `_`, `0` behind the percent sign for no filling, blanks or zeros.
 * @throws Error for a specifier that does not exist
 */
export function strftime(moment: Moment, format: string): string {
  const here = new Date(moment.ms + (moment.offsetMinutes ?? 0) * 60_000)
  return format.replace(
    /%(?:([-_0])?([A-Za-z%+])|(:{1,2}z|#z|\.[369]?f|[369]f))|%.?/gsu,
    (whole, flag?: string, letter?: string, special?: string) => {
      if (special !== undefined) return specially(moment, special)
      if (letter === undefined) throw new Error(`"${whole}" is no part of a date format`)
      const longer = composed[letter]
      if (longer !== undefined) return strftime(moment, longer)
      const field = fields[letter]?.(here, moment)
      if (field === undefined) throw new Error(`"${whole}" is no part of a date format`)
      return typeof field === "string" ? field : padded(field, flag)
    },
  )
}

function padded({ value, width, fill }: Field, flag: string | undefined): string {
  if (flag === "-") return String(value)
  const character = flag === undefined ? fill : flag === "_" ? " " : "0"
  return String(value).padStart(width, character)
}

function specially(moment: Moment, special: string): string {
  if (special.endsWith("z")) return offset(moment, ":") + (special === "::z" ? ":00" : "")
  const nanos = `${String(((moment.ms % 1000) + 1000) % 1000).padStart(3, "0")}000000`
  const digits = Number(special.replace(/\D/g, ""))
  if (digits === 0) return nanos.startsWith("000") ? "" : `.${nanos.slice(0, 3)}`
  return (special.startsWith(".") ? "." : "") + nanos.slice(0, digits)
}

function offset(moment: Moment, between: string): string {
  if (moment.offsetMinutes === undefined) throw new Error('a time stamp has no zone; give "timezone"')
  return offsetText(moment.offsetMinutes, between)
}

const dayOfYear = (date: Date) => Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / dayMs) + 1
/** Weeks begin on that day of the week, the first of the year with the first of them. */
const week = (date: Date, firstDay: number) =>
  Math.floor((dayOfYear(date) + 6 - ((date.getUTCDay() - firstDay + 7) % 7)) / 7)

/** The week of ISO 8601 is that of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * dayMs)
  return { year: thursday.getUTCFullYear(), week: Math.ceil(dayOfYear(thursday) / 7) }
}

const twelve = (date: Date) => date.getUTCHours() % 12 || 12
const half = (date: Date) => (date.getUTCHours() < 12 ? "AM" : "PM")

const fields: Readonly<Record<string, (date: Date, moment: Moment) => Field | string>> = {
  Y: (date) => zeros(date.getUTCFullYear(), 4),
  C: (date) => zeros(Math.floor(date.getUTCFullYear() / 100)),
  y: (date) => zeros(date.getUTCFullYear() % 100),
  m: (date) => zeros(date.getUTCMonth() + 1),
  B: (date) => months[date.getUTCMonth()]!,
  b: (date) => months[date.getUTCMonth()]!.slice(0, 3),
  d: (date) => zeros(date.getUTCDate()),
  e: (date) => blanks(date.getUTCDate()),
  A: (date) => days[date.getUTCDay()]!,
  a: (date) => days[date.getUTCDay()]!.slice(0, 3),
  w: (date) => zeros(date.getUTCDay(), 1),
  u: (date) => zeros(date.getUTCDay() || 7, 1),
  U: (date) => zeros(week(date, 0)),
  W: (date) => zeros(week(date, 1)),
  G: (date) => zeros(isoWeek(date).year, 4),
  g: (date) => zeros(isoWeek(date).year % 100),
  V: (date) => zeros(isoWeek(date).week),
  j: (date) => zeros(dayOfYear(date), 3),
  H: (date) => zeros(date.getUTCHours()),
  k: (date) => blanks(date.getUTCHours()),
  I: (date) => zeros(twelve(date)),
  l: (date) => blanks(twelve(date)),
  p: half,
  P: (date) => half(date).toLowerCase(),
  M: (date) => zeros(date.getUTCMinutes()),
  S: (date) => zeros(date.getUTCSeconds()),
  f: (date) => zeros(date.getUTCMilliseconds() * 1e6, 9),
  s: (_date, moment) => zeros(Math.floor(moment.ms / 1000), 1),
  z: (_date, moment) => offset(moment, ""),
  Z: (_date, moment) => moment.zoneName ?? offset(moment, ":"),
  n: () => "\n",
  t: () => "\t",
  "%": () => "%",
}
