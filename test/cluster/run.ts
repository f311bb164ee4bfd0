import { AppError } from "../../core/errors.ts"

export interface RunOptions {
  /** Written to the program's standard input; none: the input is empty. */
  input?: string | Uint8Array
  /** Added to this process's environment. */
  env?: Record<string, string>
  cwd?: string
  /** The program is killed after this many seconds. Default 120. */
  timeoutSeconds?: number
}

export interface RunResult {
  code: number
  stdout: string
  stderr: string
}

/** Runs a program to its end and collects what it says. Never throws for a bad exit code. */
export async function run(command: string[], options: RunOptions = {}): Promise<RunResult> {
  const timeoutSeconds = options.timeoutSeconds ?? 120
  let timedOut = false
  let child: Bun.Subprocess<Buffer | "ignore", "pipe", "pipe">
  try {
    child = Bun.spawn(command, {
      // An empty buffer would do, too, but Bun cannot pass one on inside a user namespace.
      stdin: options.input === undefined ? "ignore" : Buffer.from(options.input),
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
    })
  } catch (cause) {
    return { code: 127, stdout: "", stderr: `cannot start ${command[0]}: ${String(cause)}` }
  }
  const timer = setTimeout(() => {
    timedOut = true
    child.kill("SIGKILL")
  }, timeoutSeconds * 1000)
  try {
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { code, stdout, stderr: timedOut ? `${stderr}\nkilled after ${timeoutSeconds} s` : stderr }
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Standard output of a program that must succeed.
 * @throws AppError "command-failed" with the last lines the program wrote.
 */
export async function must(command: string[], options: RunOptions = {}): Promise<string> {
  const result = await run(command, options)
  if (result.code === 0) return result.stdout
  const said = lastLines(`${result.stdout}\n${result.stderr}`, 15)
  throw new AppError("command-failed", `"${command.join(" ").slice(0, 300)}" ended with code ${result.code}:\n${said}`)
}

/** The last `count` lines that are not empty, long ones cut, indented by two spaces. */
export function lastLines(text: string, count: number): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "")
  return lines
    .slice(-count)
    .map((line) => `  ${line.slice(0, 400)}`)
    .join("\n")
}
