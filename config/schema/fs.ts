import * as v from "valibot"
import { checked, maybeTexts, noted, short, textMap, u64 } from "./values.ts"

export const fsModes = ["local", "localwithoverrides", "read", "write"] as const
/** Largest read-ahead, in bytes: 15 MiB. */
export const maxReadAheadBytes = 15 * 1024 * 1024

const object = v.strictObject({
  mode: noted(v.optional(v.picklist(fsModes), "read"), { env: "MIRRORD_FILE_MODE" }),
  read_write: maybeTexts({ env: "MIRRORD_FILE_READ_WRITE_PATTERN" }),
  read_only: maybeTexts(),
  local: maybeTexts({ env: "MIRRORD_FILE_LOCAL_PATTERN" }),
  not_found: maybeTexts(),
  /** Pattern to replacement, which may use `$1`. */
  mapping: v.optional(textMap),
  /** Read-ahead of files opened for reading, in bytes; 0 = none. */
  readonly_file_buffer: v.pipe(
    v.optional(u64, 128_000),
    checked((bytes) => (bytes > maxReadAheadBytes ? "is larger than 15 MiB (15728640)" : undefined)),
  ),
})

/** Files. Patterns are regular expressions: case does not matter, found anywhere in the path. */
export const fs = short(object, v.union([v.boolean(), v.picklist(fsModes)]), (value) => {
  if (value === true) return {}
  if (value === false) return { mode: "local" }
  return typeof value === "string" ? { mode: value } : undefined
})
