import { type Arguments, argument, integer, number, text, truth, type Value } from "../value.ts"
import type { Filter } from "./filter.ts"

const onText =
  (change: (text: string, args: Arguments) => Value): Filter =>
  (value, args) =>
    change(text(value), args)

/** A pattern to split at or to trim: "\n" and "\t" are written with a backslash. */
const pattern = (args: Arguments) => argument(args, "pat", text).replaceAll("\\n", "\n").replaceAll("\\t", "\t")

/** Letters that have no ASCII letter inside them. */
const spelled: Readonly<Record<string, string>> = { ß: "ss", æ: "ae", œ: "oe", ø: "o", đ: "d", ð: "d", ł: "l", þ: "th" }

const slug = (original: string) =>
  original
    .toLowerCase()
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]/g, "")
    .replace(/[ßæœøđðłþ]/g, (letter) => spelled[letter]!)
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")

const capitalized = (word: string) => {
  const [first = "", ...rest] = word
  return first.toUpperCase() + rest.join("").toLowerCase()
}

/** Everything but letters, digits and what is kept, as bytes of UTF-8. */
const percent = (original: string, kept?: RegExp) =>
  Array.from(Buffer.from(original), (byte) => {
    const character = String.fromCharCode(byte)
    const plain = byte < 128 && (/[A-Za-z0-9]/.test(character) || kept?.test(character) === true)
    return plain ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`
  }).join("")

const htmlWords: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#x27;",
  "/": "&#x2F;",
}

function truncated(original: string, args: Arguments): string {
  const length = argument(args, "length", integer, 255)
  const seen = Array.from(new Intl.Segmenter("en").segment(original), ({ segment }) => segment)
  return seen.length <= length ? original : seen.slice(0, length).join("") + argument(args, "end", text, "…")
}

function indented(original: string, args: Arguments): string {
  const prefix = argument(args, "prefix", text, "    ")
  const first = argument(args, "first", truth, false)
  const blank = argument(args, "blank", truth, false)
  const lines = original.replace(/\r?\n$/, "").split(/\r?\n/)
  return lines
    .map((line, index) => ((index === 0 ? first : blank || line.trim() !== "") ? prefix + line : line))
    .join("\n")
}

function whole(value: Value, args: Arguments): number {
  const fallback = argument(args, "default", integer, 0)
  const base = argument(args, "base", integer, 10)
  if (typeof value === "number") return Math.trunc(value)
  const lead = { 2: /^(0b)+/, 8: /^(0o)+/, 16: /^(0x)+/ }[base]
  const digits = lead === undefined ? text(value).trim() : text(value).trim().replace(lead, "")
  const highest = "0123456789abcdefghijklmnopqrstuvwxyz".slice(0, base)
  if (new RegExp(`^[+-]?[${highest}]+$`, "i").test(digits)) return Number.parseInt(digits, base)
  return digits.includes(".") && Number.isFinite(Number(digits)) ? Math.trunc(Number(digits)) : fallback
}

/** Filters of texts. */
export const textFilters: Readonly<Record<string, Filter>> = {
  lower: onText((value) => value.toLowerCase()),
  upper: onText((value) => value.toUpperCase()),
  capitalize: onText(capitalized),
  title: onText((value) => value.replace(/[\p{L}\p{N}_'][\p{L}\p{N}\p{M}_']*/gu, capitalized)),
  trim: onText((value) => value.trim()),
  trim_start: onText((value) => value.trimStart()),
  trim_end: onText((value) => value.trimEnd()),
  trim_start_matches: onText((value, args) => {
    const lead = pattern(args)
    let rest = value
    while (lead !== "" && rest.startsWith(lead)) rest = rest.slice(lead.length)
    return rest
  }),
  trim_end_matches: onText((value, args) => {
    const tail = pattern(args)
    let rest = value
    while (tail !== "" && rest.endsWith(tail)) rest = rest.slice(0, -tail.length)
    return rest
  }),
  replace: onText((value, args) => {
    const to = argument(args, "to", text)
    return value.replaceAll(argument(args, "from", text), () => to)
  }),
  truncate: onText(truncated),
  indent: onText(indented),
  slugify: onText(slug),
  urlencode: onText((value) => percent(value, /[-_.~/%]/)),
  urlencode_strict: onText((value) => percent(value)),
  addslashes: onText((value) => value.replace(/[\\"']/g, "\\$&")),
  escape: onText((value) => value.replace(/[&<>"'/]/g, (c) => htmlWords[c]!)),
  escape_xml: onText((value) => value.replace(/[&<>"']/g, (c) => (c === "'" ? "&apos;" : htmlWords[c]!))),
  linebreaksbr: onText((value) => value.replace(/\r?\n/g, "<br>")),
  spaceless: onText((value) => value.replace(/>\s+</g, "><")),
  striptags: onText((value) => value.replace(/<!--.*?-->|<[^>]*>/g, "")),
  wordcount: onText((value) => value.split(/\s+/).filter(Boolean).length),
  split: onText((value, args) => value.split(pattern(args))),
  int: whole,
  float(value, args) {
    const fallback = argument(args, "default", number, 0)
    if (typeof value === "number") return value
    const digits = text(value).trim()
    return digits !== "" && Number.isFinite(Number(digits)) ? Number(digits) : fallback
  },
}
