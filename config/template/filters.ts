/** What an expression can be. */
export type Value = string | number | boolean | undefined | Value[] | { [key: string]: Value }
export type Arguments = Readonly<Record<string, Value>>

export function asText(value: Value): string {
  if (typeof value === "object")
    return Array.isArray(value) ? `[${value.map(asText).join(", ")}]` : JSON.stringify(value)
  return value === undefined ? "" : String(value)
}

function argument(args: Arguments, name: string): string {
  const value = args[name]
  if (value === undefined) throw new Error(`the argument "${name}" is missing`)
  return asText(value)
}

const onText = (change: (text: string, args: Arguments) => Value) => (value: Value, args: Arguments) =>
  change(asText(value), args)

const list = (value: Value): Value[] => {
  if (!Array.isArray(value)) throw new Error("a list is expected")
  return value
}

const slug = (text: string) =>
  text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")

const title = (text: string) => text.replace(/\S+/g, (word) => word[0]!.toUpperCase() + word.slice(1).toLowerCase())
const strictUrl = (text: string) =>
  encodeURIComponent(text).replace(/[-_.!~*'()]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
const htmlWords: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#x27;",
  "/": "&#x2F;",
}

function truncated(text: string, args: Arguments): string {
  const length = Number(args["length"] ?? 255)
  const characters = [...text]
  return characters.length <= length ? text : characters.slice(0, length).join("") + asText(args["end"] ?? "…")
}

function number(value: Value, fallback: Value): Value {
  const found = typeof value === "string" ? Number(value.trim()) : Number(value)
  return Number.isNaN(found) || value === "" ? (fallback ?? 0) : found
}

/** Filters of the Tera language, as far as they make sense for texts in a configuration file. */
export const filters: Record<string, (value: Value, args: Arguments) => Value> = {
  lower: onText((text) => text.toLowerCase()),
  upper: onText((text) => text.toUpperCase()),
  capitalize: onText((text) => text.slice(0, 1).toUpperCase() + text.slice(1).toLowerCase()),
  title: onText(title),
  trim: onText((text) => text.trim()),
  trim_start: onText((text) => text.trimStart()),
  trim_end: onText((text) => text.trimEnd()),
  trim_start_matches: onText((text, args) => {
    const pattern = argument(args, "pat")
    let rest = text
    while (pattern !== "" && rest.startsWith(pattern)) rest = rest.slice(pattern.length)
    return rest
  }),
  trim_end_matches: onText((text, args) => {
    const pattern = argument(args, "pat")
    let rest = text
    while (pattern !== "" && rest.endsWith(pattern)) rest = rest.slice(0, -pattern.length)
    return rest
  }),
  replace: onText((text, args) => text.replaceAll(argument(args, "from"), () => argument(args, "to"))),
  truncate: onText(truncated),
  slugify: onText(slug),
  urlencode: onText((text) => encodeURIComponent(text).replaceAll("%2F", "/")),
  urlencode_strict: onText(strictUrl),
  addslashes: onText((text) => text.replace(/[\\"']/g, "\\$&")),
  escape: onText((text) => text.replace(/[&<>"'/]/g, (c) => htmlWords[c]!)),
  escape_xml: onText((text) => text.replace(/[&<>"']/g, (c) => (c === "'" ? "&apos;" : htmlWords[c]!))),
  safe: (value) => value,
  wordcount: onText((text) => text.split(/\s+/).filter(Boolean).length),
  split: onText((text, args) => text.split(argument(args, "pat"))),
  length: (value) => (Array.isArray(value) ? value.length : [...asText(value)].length),
  reverse: (value) => (Array.isArray(value) ? value.toReversed() : [...asText(value)].reverse().join("")),
  first: (value) => list(value)[0] ?? "",
  last: (value) => list(value).at(-1) ?? "",
  nth: (value, args) => list(value)[Number(argument(args, "n"))] ?? "",
  join: (value, args) => list(value).map(asText).join(asText(args["sep"])),
  json_encode: (value) => JSON.stringify(value),
  as_str: (value) => asText(value),
  int: (value, args) => Math.trunc(Number(number(value, args["default"]))),
  float: (value, args) => number(value, args["default"]),
  abs: (value) => Math.abs(Number(value)),
  round: (value, args) => {
    const how = { ceil: Math.ceil, floor: Math.floor, common: Math.round }[asText(args["method"] ?? "common")]
    const scale = 10 ** Number(args["precision"] ?? 0)
    return (how ?? Math.round)(Number(value) * scale) / scale
  },
}
