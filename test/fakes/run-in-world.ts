import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RunningProgram, World } from "../../core/client/engine.ts"
import { createLogger, type Logger, silentLogger } from "../../core/log.ts"
import { createEngine } from "../../plugins/interception/client/engine.ts"

export interface Finished {
  code: number
  /** Standard output and error together. */
  output: string
}

export interface RunOptions {
  env?: Record<string, string>
  cwd?: string
  skipped?: readonly string[]
  log?: Logger
  /** Called with the running program, e.g. to end it. */
  running?(program: RunningProgram): void
}

/** Programs a test starts find what they need here, whatever the test's own environment. */
const plainEnv = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/go/bin",
  HOME: "/tmp",
  LANG: "C.UTF-8",
}

/** Runs a program in a world of the test's own making, in this process, and collects what it prints. */
export async function runIn(world: World, command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const folder = mkdtempSync(join(tmpdir(), "podside-world-"))
  const file = join(folder, "output")
  try {
    // The program inherits this process's streams, so a shell puts its output into a file first.
    const program = await createEngine().launch({
      command: "/bin/sh",
      args: ["-c", `exec "$@" >'${file}' 2>&1 </dev/null`, "sh", ...command],
      cwd: options.cwd ?? "/",
      env: { ...plainEnv, ...options.env },
      ...(options.skipped && { skipped: options.skipped }),
      world,
      log: options.log ?? silentLogger,
    })
    options.running?.(program)
    const code = await program.exited
    return { code, output: readFileSync(file, "utf8") }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A logger that keeps the messages of its lines. */
export function keepingLogger(): { log: Logger; lines: string[] } {
  const lines: string[] = []
  return { log: createLogger({ write: (line) => void lines.push(line), level: "debug" }), lines }
}

/** Whether a program is installed; says so loudly when it is not, because a test is skipped then. */
export function installed(program: string): boolean {
  if (Bun.which(program, { PATH: plainEnv.PATH })) return true
  console.warn(`SKIPPED: tests with ${program}, which is not installed here`)
  return false
}
