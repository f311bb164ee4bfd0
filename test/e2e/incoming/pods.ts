import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { startApplication, type TestApplication } from "./kit.ts"
import { makePod, type Pod } from "./pod.ts"

const limitMs = 120_000

/** How connections of a port that is only mirrored come to the agent: as copies, or through it; a row for `describe.each`. */
export const mirroringWays: [name: string, env: Record<string, string>][] = [
  ["copied", {}],
  ["relayed", { PODSIDE_AGENT_COPY_MIRRORED: "false" }],
]

/** A pod with an agent for all tests of a `describe`: call it there; `use` gets both before the first test. The agent gets `env`. */
export function onePod(use: (made: { pod: Pod; agent: AgentProcess }) => void, env: Record<string, string> = {}): void {
  let pod: Pod | undefined
  let agent: AgentProcess | undefined
  beforeAll(async () => {
    pod = await makePod()
    agent = await startAgentProcess(pod.pid, env)
    use({ pod, agent })
  }, limitMs)
  afterAll(async () => {
    await agent?.stop()
    pod?.close()
  }, limitMs)
}

/** A pod of one test; what is in the lists ends with it. */
export interface FreshPod {
  pod: Pod
  apps: TestApplication[]
  agents: AgentProcess[]
  /** Starts an application that answers with its name and what it was sent. */
  application(port: number, name: string): void
  agent(): Promise<AgentProcess>
}

/** A pod for each test of a `describe`; agents get `env`. */
export function freshPods(env: Record<string, string>, use: (made: FreshPod) => void): void {
  let made: FreshPod | undefined
  beforeEach(async () => {
    const pod = await makePod()
    const apps: TestApplication[] = []
    const agents: AgentProcess[] = []
    made = {
      pod,
      apps,
      agents,
      application: (port, name) =>
        void apps.push(startApplication(pod, (text) => (text === "" ? "" : `${name}: ${text}`), { port })),
      async agent() {
        const started = await startAgentProcess(pod.pid, env)
        agents.push(started)
        return started
      },
    }
    use(made)
  }, limitMs)
  afterEach(async () => {
    for (const agent of made?.agents ?? []) await agent.kill()
    for (const app of made?.apps ?? []) app.stop()
    made?.pod.close()
    made = undefined
  }, limitMs)
}
