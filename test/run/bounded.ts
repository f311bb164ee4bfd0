import { spawn } from "node:child_process"

export interface Finished {
  /** null: ended by a signal or by the limit. */
  code: number | null
  timedOut: boolean
  /** Standard output and error as they came. */
  output: string
  seconds: number
}

const running = new Set<number>()

/** What a program may write before the middle of it is dropped, in characters. */
const outputLimit = 400_000

/**
 * Runs a program in a process group of its own, so that it leaves nothing behind when the limit ends it.
 * `onLine` sees every line at once, for what has to be shown while it runs.
 */
export function runBounded(
  command: readonly string[],
  options: { cwd: string; limitSeconds: number; onLine?(line: string): void },
): Promise<Finished> {
  const [program, ...args] = command as [string, ...string[]]
  const started = performance.now()
  const child = spawn(program, args, { cwd: options.cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] })
  const pid = child.pid
  if (pid !== undefined) running.add(pid)
  let output = ""
  let line = ""
  let timedOut = false
  const take = (text: string) => {
    output += text
    if (output.length > 2 * outputLimit)
      output = `${output.slice(0, outputLimit)}\n[...]\n${output.slice(-outputLimit / 2)}`
    const lines = (line + text).split("\n")
    line = lines.pop() ?? ""
    for (const each of lines) options.onLine?.(each)
  }
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", take)
  const timer = setTimeout(() => {
    timedOut = true
    killGroup(pid)
  }, options.limitSeconds * 1000)
  return new Promise((resolve) => {
    const finish = (code: number | null) => {
      clearTimeout(timer)
      // Whatever the program started and forgot would hold ports and files of the next one.
      killGroup(pid)
      if (pid !== undefined) running.delete(pid)
      resolve({ code, timedOut, output, seconds: (performance.now() - started) / 1000 })
    }
    child.on("error", (error) => {
      take(`${error.message}\n`)
      finish(null)
    })
    child.on("exit", (code) => {
      // Output may still be on its way; a forgotten grandchild must not hold the pipes open for ever.
      const patience = setTimeout(() => finish(code), 1000)
      child.on("close", () => {
        clearTimeout(patience)
        finish(code)
      })
    })
  })
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // The group is gone already.
  }
}

/** Ends everything that still runs, for when the runner itself is interrupted. */
export function killAll(): void {
  for (const pid of running) killGroup(pid)
}
