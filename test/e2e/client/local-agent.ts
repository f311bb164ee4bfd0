import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { podsideBinary } from "../../binary.ts"

export interface LocalAgent extends AsyncDisposable {
  binary: string
  /** Options of `podside exec` that lead to it. */
  options: string[]
  folder: string
  /** Cuts the agent off without a word. */
  kill(): Promise<void>
  /** Stops it from running, as a node that hangs would. */
  freeze(): void
}

const readyLimitMs = 60_000

/** An agent beside a process of this machine that stands for the pod's; its variables are the pod's environment. */
export async function startLocalAgent(variables: Record<string, string> = {}): Promise<LocalAgent> {
  const binary = await podsideBinary()
  const folder = mkdtempSync(join(tmpdir(), "podside-client-"))
  const path = join(folder, "agent.sock")
  const pod = Bun.spawn(["sleep", "600"], {
    env: { PATH: process.env["PATH"] ?? "", ...variables },
    stdio: ["ignore", "ignore", "ignore"],
  })
  const agent = Bun.spawn(
    [binary, "--mode", "agent", "--listen", `unix:${path}`, "process", "--pid", String(pod.pid)],
    {
      env: { PATH: process.env["PATH"] ?? "", MIRRORD_AGENT_IDLE_TTL: "60" },
      stdio: ["ignore", "ignore", "inherit"],
    },
  )
  const end = async () => {
    agent.kill("SIGKILL")
    pod.kill("SIGKILL")
    await Promise.all([agent.exited, pod.exited])
    rmSync(folder, { recursive: true, force: true })
  }
  const deadline = performance.now() + readyLimitMs
  while (!existsSync(path)) {
    if (performance.now() > deadline || agent.exitCode !== null) {
      await end()
      throw new Error("the agent did not come up")
    }
    await Bun.sleep(20)
  }
  return {
    binary,
    folder,
    options: ["--agent-address", `unix:${path}`, "--target", "pod/any"],
    async kill() {
      agent.kill("SIGKILL")
      await agent.exited
    },
    freeze: () => agent.kill("SIGSTOP"),
    [Symbol.asyncDispose]: end,
  }
}
