import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TestClient, within } from "../../../agent/test-agent.ts"
import { askingSide, connectLink } from "../../../core/link/index.ts"

/** The agent as a process of its own beside process `pid`, as it would run in a cluster. */
export interface AgentProcess {
  pid: number
  socketPath: string
  connect(version?: string): Promise<TestClient>
  /** Asks it to end and waits for that. */
  stop(): Promise<number>
  /** Its exit code, once it has ended by itself. */
  ended: Promise<number>
  /** As the kernel does when memory is short. */
  kill(): Promise<void>
  output(): string
}

const mainFile = join(import.meta.dir, "../../../core/main.ts")

/** `under`: a program that starts it, such as `setpriv` with its options. `mode`: instead of `process`. */
export async function startAgentProcess(
  pid: number,
  env: Record<string, string> = {},
  under: readonly string[] = [],
  mode: readonly string[] = ["process", "--pid", String(pid)],
): Promise<AgentProcess> {
  const folder = mkdtempSync(join(tmpdir(), "podside-incoming-"))
  const socketPath = join(folder, "agent.sock")
  const child = Bun.spawn(
    [...under, process.execPath, mainFile, "--mode", "agent", "--listen", `unix:${socketPath}`, ...mode],
    {
      env: { ...process.env, MIRRORD_AGENT_IDLE_TTL: "20", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    },
  )
  let output = ""
  const ready = Promise.withResolvers<void>()
  const read = async (stream: ReadableStream<Uint8Array>) => {
    for await (const chunk of stream) {
      output += Buffer.from(chunk).toString()
      if (output.includes("agent ready")) ready.resolve()
    }
  }
  void read(child.stdout)
  void read(child.stderr)
  const ended = child.exited.finally(() => rmSync(folder, { recursive: true, force: true }))
  await within(
    "the agent's start",
    Promise.race([ready.promise, ended.then(() => Promise.reject(new Error(output)))]),
    60_000,
  )
  return {
    pid: child.pid,
    socketPath,
    output: () => output,
    async connect(version = "1.29.0") {
      const client = new TestClient(await connectLink(askingSide, { unix: socketPath }))
      await client.negotiate(version)
      client.send({ kind: "ReadyForLogs" })
      return client
    },
    ended,
    async stop() {
      child.kill("SIGTERM")
      return within("the agent's end", ended)
    },
    async kill() {
      child.kill("SIGKILL")
      await ended
    },
  }
}
