import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { askingSide, connectLink } from "../../core/link/index.ts"
import type { Link } from "../../core/link.ts"
import type { ClientMessage, DaemonMessage } from "../../core/protocol/index.ts"

/* An agent in a process of its own, for programs that measure it. */

export interface MeasuredAgent {
  connect(): Promise<BenchClient>
  /** Resident memory in MiB. */
  memory(): number
  stop(): Promise<void>
}

/** Beside this process: its files, its loopback. `PODSIDE` names a compiled binary to measure instead of the source. */
export async function startMeasuredAgent(): Promise<MeasuredAgent> {
  const folder = mkdtempSync(join(tmpdir(), "podside-bench-"))
  const path = join(folder, "agent.sock")
  const binary = process.env["PODSIDE"]
  const program = binary ? [binary] : [process.execPath, join(import.meta.dir, "../../core/main.ts")]
  const words = ["--mode", "agent", "--listen", `unix:${path}`, "process", "--pid", `${process.pid}`]
  const agent = Bun.spawn([...program, ...words], {
    stdout: "pipe",
    stderr: "ignore",
    env: { ...process.env, MIRRORD_AGENT_IDLE_TTL: "600" },
  })
  await agent.stdout.getReader().read()
  return {
    connect: async () => new BenchClient(await connectLink(askingSide, { unix: path })),
    memory: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${agent.pid}/status`, "utf8"))?.[1]) / 1024,
    async stop() {
      agent.kill()
      await agent.exited
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export class BenchClient {
  readonly link: Link<DaemonMessage, ClientMessage>
  onMessage: (message: DaemonMessage) => void = () => {}

  constructor(link: Link<DaemonMessage, ClientMessage>) {
    this.link = link
    link.receive((message) => this.onMessage(message))
  }

  ask(message: ClientMessage): Promise<DaemonMessage> {
    return new Promise((resolve) => {
      this.onMessage = resolve
      this.link.send(message)
    })
  }

  async connectTo(port: number): Promise<bigint> {
    await this.ask({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    const uid = crypto.randomUUID()
    const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port } } as const
    const answer = await this.ask({ kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, remoteAddress } } })
    if (
      answer.kind === "TcpOutgoing" &&
      answer.value.kind === "ConnectV2" &&
      answer.value.value.connect.kind === "Ok"
    ) {
      return answer.value.value.connect.value.connectionId
    }
    throw new Error("the agent could not connect")
  }
}
