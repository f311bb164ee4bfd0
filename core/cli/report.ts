import { AppError, errorText } from "../errors.ts"

/** Exit code of anything that went wrong without having a code of its own. */
const failureExitCode = 1

/**
 * Prints what was thrown for a person: message, code and next step, never a stack trace
 * (`PODSIDE_DEBUG=1` adds it). Returns the exit code.
 */
export function reportError(thrown: unknown): number {
  const lines = [`podside: ${errorText(thrown)}`]
  if (thrown instanceof AppError) {
    lines[0] += ` [${thrown.code}]`
    if (thrown.next) lines.push(`  ${thrown.next}`)
  } else {
    lines.push("  Not an error podside expected; PODSIDE_DEBUG=1 shows where it came from.")
  }
  if (process.env["PODSIDE_DEBUG"] === "1" && thrown instanceof Error) lines.push(String(thrown.stack))
  process.stderr.write(`${lines.join("\n")}\n`)
  return thrown instanceof AppError ? thrown.exitCode : failureExitCode
}
