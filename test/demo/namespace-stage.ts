import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import type { Stage } from "./stage.ts"

/* A machine that is emulated, or has much else to do, is some twenty times as slow as one that is not. */
const startLimitMs = 60_000
const visitLimitMs = 30_000
const endLimitMs = 5_000

/** A sample pod in user, network and mount namespaces of its own: no cluster, no root. @throws AppError "demo-unavailable" */
export async function openNamespaceStage(binary: string): Promise<Stage> {
  for (const program of ["unshare", "ip", "mount"]) {
    if (!Bun.which(program)) throw unavailable(`there is no program "${program}"`, "Install util-linux and iproute2.")
  }
  const folder = mkdtempSync(join(tmpdir(), "podside-demo-"))
  const podFiles = existsSync("/srv") ? "/srv" : "/media"
  const side = new URL("./namespace-side.ts", import.meta.url).pathname
  // The end of its input ends the child and everything below it, however this process ends.
  const child = Bun.spawn(
    ["unshare", "--user", "--map-root-user", "--net", "--mount", process.execPath, side, binary, folder, podFiles],
    { stdin: "pipe", stdout: "pipe", stderr: "pipe" },
  )
  const answers = new Answers(child.stdout)
  const complaints = new Response(child.stderr).text()
  const end = async () => {
    child.stdin.end()
    await child.exited
    rmSync(folder, { recursive: true, force: true })
  }
  const ready = await answers.next<{ pids: number[] }>(startLimitMs).catch(async () => {
    const isLate = child.exitCode === null && child.signalCode === null
    child.kill("SIGKILL")
    await end()
    if (isLate)
      throw unavailable(
        `the namespaces did not come up within ${startLimitMs / 1000} s`,
        "Try again when the machine has less to do.",
      )
    throw unavailable(
      mainLine(await complaints) || "the namespaces are gone",
      "Unprivileged user namespaces are needed (kernel.unprivileged_userns_clone, or AppArmor's restriction of them); or use `npm run demo -- --cluster`.",
    )
  })
  return {
    place: "in namespaces of its own: no cluster, no root",
    options: ["--agent-address", `unix:${folder}/agent.sock`, "--target", "pod/web-0"],
    env: {},
    variable: { name: "GREETING", value: "hello from the pod" },
    file: { path: `${podFiles}/catalog.json`, content: '{"tea":3,"coffee":5}' },
    async visit(path, headers = {}) {
      child.stdin.write(`${JSON.stringify({ path, headers })}\n`)
      child.stdin.flush()
      const { body, error } = await answers.next<{ body?: string; error?: string }>(visitLimitMs)
      if (body === undefined) throw new AppError("demo-failed", `The visit of ${path} failed: ${error}`)
      return body
    },
    async stop() {
      await end()
      // The kernel takes a moment to clear a process away that has ended.
      const running = () => ready.pids.filter((pid) => existsSync(`/proc/${pid}`))
      for (let waitedMs = 0; running().length > 0 && waitedMs < endLimitMs; waitedMs += 20) await Bun.sleep(20)
      const left = running().map((pid) => `process ${pid}`)
      return existsSync(folder) ? [...left, folder] : left
    },
  }
}

/** Lines of JSON, in order. */
class Answers {
  readonly #lines: AsyncGenerator<string>

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#lines = linesOf(stream)
  }

  async next<T>(limitMs: number): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new AppError("demo-failed", "no answer in time")), limitMs)
    try {
      const { value, done } = await Promise.race([this.#lines.next(), promise])
      if (done) throw new AppError("demo-failed", "the namespaces are gone")
      return JSON.parse(value)
    } finally {
      clearTimeout(timer)
    }
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ""
  for await (const chunk of stream) {
    const lines = (rest + new TextDecoder().decode(chunk)).split("\n")
    rest = lines.pop() ?? ""
    yield* lines
  }
}

/** What a program that failed says is wrong, out of everything it prints. */
function mainLine(complaints: string): string | undefined {
  const lines = complaints.trim().split("\n")
  return (lines.find((line) => /error:|denied|not permitted/i.test(line)) ?? lines.at(-1))?.trim()
}

function unavailable(why: string, next: string): AppError {
  return new AppError("demo-unavailable", `The demo cannot run here: ${why}`, { next })
}
