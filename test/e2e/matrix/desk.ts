import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { podsideBinary } from "../../binary.ts"

/** Nobody: a user without any privilege. */
const userId = 65534
const outputLimitMs = 60_000

/** A developer's desk: a user without privileges, with podside, a kubeconfig file and a home of his own. */
export class Desk {
  readonly folder = mkdtempSync(join(tmpdir(), "podside-desk-"))
  #binary = ""
  #kubeconfig = ""
  #configs = 0
  readonly #running = new Set<Running>()

  async open(kubeconfig: string): Promise<void> {
    chmodSync(this.folder, 0o755)
    this.#binary = join(this.folder, "podside")
    copyFileSync(await podsideBinary(), this.#binary)
    this.#kubeconfig = join(this.folder, "kubeconfig")
    copyFileSync(kubeconfig, this.#kubeconfig)
    chownSync(this.#kubeconfig, userId, userId)
    chownSync(this.folder, userId, userId)
  }

  /** Ends the sessions a test has left. */
  async clear(): Promise<void> {
    await Promise.all([...this.#running].map((each) => each.stop()))
    this.#running.clear()
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Starts `podside exec` as that user. */
  async exec(options: string[], config: object, program: string[], env: Record<string, string> = {}) {
    const file = join(this.folder, `config-${this.#configs++}.json`)
    await Bun.write(file, JSON.stringify(config))
    const words = ["exec", "--progress", "off", "-f", file, ...options, "--", ...program]
    const drop = ["setpriv", `--reuid=${userId}`, `--regid=${userId}`, "--clear-groups", "--no-new-privs"]
    const running = new Running(
      Bun.spawn([...drop, this.#binary, ...words], {
        cwd: this.folder,
        env: {
          PATH: process.env["PATH"] ?? "",
          HOME: this.folder,
          KUBECONFIG: this.#kubeconfig,
          MIRRORD_AGENT_IMAGE_PULL_POLICY: "Never",
          ...env,
        },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      }),
    )
    this.#running.add(running)
    return running
  }
}

/** A program in a session, and the lines it prints. */
export class Running {
  readonly lines: string[] = []
  readonly ended: Promise<number>
  readonly #child: Bun.Subprocess<"ignore", "pipe", "pipe">
  #complaints = ""
  #wake = Promise.withResolvers<void>()

  constructor(child: Bun.Subprocess<"ignore", "pipe", "pipe">) {
    this.#child = child
    const out = this.#read(child.stdout, (line) => this.lines.push(line))
    const err = this.#read(child.stderr, (line) => (this.#complaints += `${line}\n`))
    this.ended = Promise.all([child.exited, out, err]).then(([code]) => code)
    void this.ended.then(() => this.#wake.resolve())
  }

  /** What podside and the program complained about. */
  get complaints(): string {
    return this.#complaints
  }

  /** Waits for a line. @throws Error with everything said when it does not come */
  async saw(line: string): Promise<void> {
    const deadline = performance.now() + outputLimitMs
    const timer = setTimeout(() => this.#wake.resolve(), outputLimitMs)
    try {
      while (!this.lines.includes(line)) {
        if (this.#child.exitCode !== null || this.#child.signalCode !== null) await this.ended
        const isOver = this.#child.exitCode !== null || performance.now() > deadline
        if (this.lines.includes(line)) return
        if (isOver) throw new Error(`"${line}" was not printed:\n${this.lines.join("\n")}\n${this.#complaints}`)
        await this.#wake.promise
        this.#wake = Promise.withResolvers()
      }
    } finally {
      clearTimeout(timer)
    }
  }

  async stop(): Promise<number> {
    this.#child.kill("SIGTERM")
    return this.ended
  }

  async #read(stream: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n")
      rest = parts.pop() ?? ""
      for (const part of parts) take(part)
      this.#wake.resolve()
    }
    if (rest !== "") take(rest)
    this.#wake.resolve()
  }
}
