import type { RunCommand } from "../cli/command.ts"
import { AppError, errorText } from "../errors.ts"

/** For commands IDE plugins call: what goes wrong is one JSON object on standard error, in the form mirrord's have. */
export function reportingJson(run: RunCommand): RunCommand {
  return async (input, context) => {
    try {
      return await run(input, context)
    } catch (thrown) {
      const { code, next, exitCode } =
        thrown instanceof AppError ? thrown : { code: "unexpected", next: undefined, exitCode: 1 }
      const report = {
        message: errorText(thrown),
        code,
        severity: "error",
        causes: causesOf(thrown),
        ...(next === undefined ? {} : { help: next }),
        filename: "",
        labels: [],
        related: [],
      }
      process.stderr.write(`${JSON.stringify(report)}\n`)
      return exitCode
    }
  }
}

function causesOf(thrown: unknown): string[] {
  const causes: string[] = []
  for (let at = (thrown as Error)?.cause; at instanceof Error && causes.length < 10; at = at.cause) {
    causes.push(at.message)
  }
  return causes
}
