/** Lines of an error that are kept, and of the end of a file that could not say which test it was. */
const keptLines = 12

const verdict = /^\((pass|fail|skip|todo)\) /
const failed = /^\(fail\) (.*?)(?: \[[\d.]+m?s\])?$/
const error = /^[A-Za-z]*[Ee]rror\b.*:|^error: /

/**
 * The failures in what `bun test` printed for one file, each with the first lines of its error: a log that is cut keeps
 * its end, and that is where these go.
 * @returns texts like "group > test\n  error: …"; for a file that died, its last lines
 */
export function failuresIn(output: string): string[] {
  const lines = output.split("\n")
  // Behind this line bun only repeats names.
  const end = lines.findIndex((line) => /^\d+ tests? failed:$/.test(line))
  const found: string[] = []
  let start = 0
  for (const [index, line] of lines.slice(0, end < 0 ? undefined : end).entries()) {
    const name = failed.exec(line)?.[1]
    if (name !== undefined) {
      const timeout = /^\s*\^ (.*timed out.*)$/.exec(lines[index + 1] ?? "")?.[1]
      const said = timeout === undefined ? errorIn(lines.slice(start, index)) : [timeout]
      found.push([name, ...said.map((each) => `  ${each}`)].join("\n"))
    }
    if (verdict.test(line)) start = index + 1
  }
  if (found.length > 0) return found
  const last = lines.filter((line) => line.trim() !== "").slice(-keptLines)
  return [["the file itself", ...last.map((line) => `  ${line}`)].join("\n")]
}

/** From the first line of an error to the place it was thrown at, without blank lines. */
function errorIn(lines: readonly string[]): string[] {
  const from = lines.findIndex((line) => error.test(line))
  if (from < 0) return lines.filter((line) => line.trim() !== "").slice(-keptLines)
  const rest = lines.slice(from).filter((line) => line.trim() !== "")
  const place = rest.findIndex((line) => /^\s+at /.test(line))
  const whole = place < 0 ? rest : rest.slice(0, place + 1)
  if (whole.length <= keptLines) return whole
  return [...whole.slice(0, keptLines - 1), "…", ...(place < 0 ? [] : [whole.at(-1)!])]
}
