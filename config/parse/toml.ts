import { errorText } from "../../core/errors.ts"
import { syntaxError } from "./json.ts"

/** In a longer text the statement that cannot be read is not looked for: each of its lines is one more attempt. */
const maxSearched = { lines: 1_000, characters: 65_536 }

/** @throws AppError "config-syntax" */
export function parseToml(text: string, file: string): unknown {
  try {
    return Bun.TOML.parse(text)
  } catch (thrown) {
    // What Bun calls the error's line is one of the code that asked.
    throw syntaxError(file, lineOfFault(text), errorText(thrown).replace(/^TOML Parse error: /, ""))
  }
}

/** Where the statement begins that cannot be read: behind the most lines that can. Empty when there are too many. */
function lineOfFault(text: string): string {
  const lines = text.split("\n")
  if (lines.length > maxSearched.lines || text.length > maxSearched.characters) return ""
  let good = lines.length - 1
  while (good > 0 && !isToml(lines.slice(0, good).join("\n"))) good--
  return String(good + 1)
}

function isToml(text: string): boolean {
  try {
    Bun.TOML.parse(text)
    return true
  } catch {
    return false
  }
}
