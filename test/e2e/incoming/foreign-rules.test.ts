import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { TestClient, within } from "../../../agent/test-agent.ts"
import { askingSide, connectLink } from "../../../core/link/index.ts"
import { type AgentProcess, startAgentProcess } from "./agent-process.ts"
import { asContainer, whyNoContainers } from "./container.ts"
import { makePod, type Pod, whyNoPods } from "./pod.ts"

/* What mirrord's agents left, or still use, beside the same container. */

const containerId = `0123456789abcdef0123${crypto.randomUUID().replaceAll("-", "")}`
const otherId = "fedcba9876543210fedcba9876543210"
const chainsBeside = (id: string) => {
  const name = id.slice(0, 20)
  return `*nat
-N MRDIN_${name}
-N MRDSTD_${name}
-A PREROUTING -j MRDIN_${name}
-A OUTPUT -j MRDSTD_${name}
-A MRDSTD_${name} -p tcp -j RETURN
-A MRDIN_${name} -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 40000
-A MRDIN_${name} -j RETURN
COMMIT
`
}
const oldChains = `*nat
-N MIRRORD_INPUT
-A PREROUTING -j MIRRORD_INPUT
COMMIT
`
const kinds = ["nft", "legacy"] as const
const reason =
  whyNoPods() ??
  whyNoContainers() ??
  (kinds.every((kind) => Bun.which(`iptables-${kind}`)) ? undefined : "the iptables programs are missing")
if (reason) console.warn(`SKIPPED: rules of foreign agents end to end: ${reason}`)

describe.skipIf(reason !== undefined).each(kinds)("rules of a foreign agent by iptables-%s", (kind) => {
  let pod: Pod
  let agent: AgentProcess | undefined

  let container: { remove(): void }

  beforeEach(async () => {
    pod = await makePod()
    container = asContainer(pod.pid, containerId)
  }, 120_000)

  afterEach(async () => {
    await agent?.kill()
    agent = undefined
    pod.close()
    container.remove()
  }, 120_000)

  function run(program: string, args: string[], input = ""): string {
    const { stdout, stderr, exitCode } = pod.inPod(() =>
      Bun.spawnSync([program, ...args], { stdin: Buffer.from(input) }),
    )
    if (exitCode !== 0) throw new Error(`${program}: ${stderr}`)
    return stdout.toString()
  }
  const restore = (rules: string, program = "iptables") => run(`${program}-${kind}-restore`, ["-w", "--noflush"], rules)
  const rules = () =>
    ["iptables", "ip6tables"].map((name) => run(`${name}-${kind}`, ["-w", "-t", "nat", "-S"])).join("")

  async function start(env: Record<string, string> = {}, options: readonly string[] = []): Promise<AgentProcess> {
    agent = await startAgentProcess(pod.pid, env, [], [...options, "targeted", "--container-id", containerId])
    return agent
  }

  test.each([
    ["beside the same container", chainsBeside(containerId), "iptables", "MRDIN_0123456789abcdef0123"],
    ["beside it, for IPv6", chainsBeside(containerId), "ip6tables", "MRDIN_0123456789abcdef0123"],
    ["of an old version", oldChains, "iptables", "MIRRORD_INPUT"],
  ])(
    "those %s end the agent with 99, and its client learns why",
    async (_, dump, program, chain) => {
      restore(dump, program)
      const before = rules()
      const { socketPath, ended } = await start()
      const client = new TestClient(await connectLink(askingSide, { unix: socketPath }))
      client.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
      const told = await client.closed()
      expect(told).toStartWith("Detected dirty iptables.")
      expect(told).toContain(chain)
      expect(await within("the exit", ended)).toBe(99)
      expect(rules()).toBe(before)
    },
    120_000,
  )

  test("nobody who comes to learn it does not keep the agent", async () => {
    restore(oldChains)
    const { ended } = await start({}, ["-t", "1"])
    expect(await within("the exit", ended)).toBe(99)
  }, 120_000)

  test("they are removed when that is wished, in both families, and nothing else is", async () => {
    const before = rules()
    restore(chainsBeside(otherId))
    const kept = rules()
    restore(chainsBeside(containerId))
    restore(chainsBeside(containerId), "ip6tables")
    restore(oldChains)
    const client = await (await start({ MIRRORD_AGENT_CLEAN_IPTABLES_ON_START: "true" })).connect()
    expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
    expect(rules()).toBe(kept)
    expect(kept).not.toBe(before)
    expect(await agent!.stop()).toBe(0)
  }, 120_000)

  test("those beside another container of the pod are nobody's business, unless the container is not known", async () => {
    restore(chainsBeside(otherId))
    const client = await (await start()).connect()
    expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
    expect(await agent!.stop()).toBe(0)
    // An ephemeral container works beside process 1, which the sandbox of this test need not be allowed to look at.
    const inside = [
      "nsenter",
      `--net=/proc/${pod.pid}/ns/net`,
      "unshare",
      "--pid",
      "--fork",
      "--mount-proc",
      "--kill-child",
    ]
    agent = await startAgentProcess(pod.pid, {}, inside, ["ephemeral"])
    const { socketPath, ended } = agent
    const refused = new TestClient(await connectLink(askingSide, { unix: socketPath }))
    expect(await refused.closed()).toContain(`MRDIN_${otherId.slice(0, 20)}`)
    expect(await within("the exit", ended)).toBe(99)
  }, 120_000)
})
