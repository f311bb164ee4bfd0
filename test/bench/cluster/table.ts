export interface Row {
  name: string
  /** What is measured, told with its comparison, e.g. "1.02 s against 0.95 s". */
  seen: string
  /** The value that has to be at most or at least the limit. */
  ratio: number
  limit: { atMost: number } | { atLeast: number }
  /** What the ratio is of, e.g. "× pod start". */
  of: string
}

const holds = ({ ratio, limit }: Row) => ("atMost" in limit ? ratio <= limit.atMost : ratio >= limit.atLeast)

export function printTable(title: string, rows: readonly Row[]): void {
  console.log(`\n${title}`)
  console.log(`${"row".padEnd(36)} ${"must".padEnd(24)} ${"measured".padEnd(9)} ok   seen`)
  for (const row of rows) {
    const must = "atMost" in row.limit ? `≤ ${row.limit.atMost}` : `≥ ${row.limit.atLeast}`
    const ok = holds(row) ? "yes" : "NO "
    console.log(
      `${row.name.padEnd(36)} ${`${must} ${row.of}`.padEnd(24)} ${row.ratio.toFixed(2).padEnd(9)} ${ok}  ${row.seen}`,
    )
  }
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
