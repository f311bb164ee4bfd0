/** One thing that was looked at. `next` says what to do when it is not fine. */
export interface Finding {
  name: string
  state: "ok" | "warning" | "problem" | "skipped"
  detail: string
  next?: string
}

/** Runs checks one after the other; a check that throws is a problem with the error's own next step. */
export async function examine(checks: readonly Check[]): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const check of checks) findings.push(await outcome(check))
  return findings
}

export interface Check {
  name: string
  run(): Promise<Omit<Finding, "name">>
}

async function outcome({ name, run }: Check): Promise<Finding> {
  try {
    return { name, ...(await run()) }
  } catch (thrown) {
    const next = thrown instanceof Error && "next" in thrown ? String(thrown.next ?? "") : ""
    return {
      name,
      state: "problem",
      detail: thrown instanceof Error ? thrown.message : String(thrown),
      ...(next ? { next } : {}),
    }
  }
}

const marks: Record<Finding["state"], string> = { ok: "✓", warning: "!", problem: "x", skipped: "-" }

export function formatFindings(findings: readonly Finding[]): string {
  const lines = findings.map(({ name, state, detail, next }) => {
    const line = `${marks[state]} ${name}: ${detail}`
    return next && state !== "ok" ? `${line}\n    ${next}` : line
  })
  return `${lines.join("\n")}\n`
}
