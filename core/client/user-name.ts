import { readFileSync } from "node:fs"

/**
 * Who runs podside, for display: as this machine lists the user, else as the environment says. Bun's `userInfo` knows the environment
 * alone, and services and containers have no `USER`.
 */
export function userName(
  env: Readonly<Record<string, string | undefined>> = process.env,
  list = "/etc/passwd",
): string {
  return listed(list, String(process.getuid?.())) || env["USER"] || env["LOGNAME"] || env["USERNAME"] || "unknown"
}

/** A line is `name:password:uid:…`. */
function listed(list: string, uid: string): string | undefined {
  try {
    const lines = readFileSync(list, "utf8").split("\n")
    return lines.map((line) => line.split(":")).find((fields) => fields[2] === uid)?.[0]
  } catch {
    return undefined
  }
}
