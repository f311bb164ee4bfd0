import { AppError } from "../../core/errors.ts"
import type { Stage } from "./stage.ts"

/** Far more than a machine needs that is emulated. */
const programLimitMs = 120_000

/** Runs programs of this machine in sessions with the stage's pod. */
export class Sessions {
  readonly #binary: string
  readonly #stage: Stage
  readonly #configFile: string

  constructor(binary: string, stage: Stage, configFile: string) {
    this.#binary = binary
    this.#stage = stage
    this.#configFile = configFile
  }

  /** Runs a program to its end and gives what it printed. @throws AppError "demo-failed" with what it complained about */
  async output(program: string[]): Promise<string> {
    const child = await this.#start(program, {})
    const timer = setTimeout(() => child.kill("SIGTERM"), programLimitMs)
    const [out, complaints, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    clearTimeout(timer)
    if (code !== 0) throw new AppError("demo-failed", `${program.join(" ")} ended with ${code}: ${complaints.trim()}`)
    return out.trim()
  }

  /** Starts a server, waits until it listens, and gives the lines it prints from then on. */
  async server(program: string[], config: object, listens: string): Promise<Server> {
    const child = await this.#start(program, config)
    const lines: string[] = []
    const listening = Promise.withResolvers<void>()
    const complaints = new Response(child.stderr).text()
    void (async () => {
      let rest = ""
      for await (const chunk of child.stdout) {
        const parts = (rest + new TextDecoder().decode(chunk)).split("\n")
        rest = parts.pop() ?? ""
        lines.push(...parts)
        if (lines.includes(listens)) listening.resolve()
      }
      listening.reject(new AppError("demo-failed", `${program[0]} ended: ${(await complaints).trim()}`))
    })()
    listening.promise.catch(() => {})
    const timer = setTimeout(
      () => listening.reject(new AppError("demo-failed", `${program[0]} did not listen in time`)),
      programLimitMs,
    )
    const stop = async () => {
      child.kill("SIGTERM")
      await child.exited
    }
    try {
      await listening.promise
      return { lines, stop }
    } catch (thrown) {
      await stop()
      throw thrown
    } finally {
      clearTimeout(timer)
    }
  }

  async #start(program: string[], config: object) {
    await Bun.write(this.#configFile, JSON.stringify(config))
    const words = [
      "exec",
      ...this.#stage.options,
      "--config-file",
      this.#configFile,
      "--progress",
      "off",
      "--",
      ...program,
    ]
    return Bun.spawn([this.#binary, ...words], {
      env: { ...process.env, ...this.#stage.env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    })
  }
}

export interface Server {
  /** What it has printed so far. */
  lines: readonly string[]
  stop(): Promise<void>
}
