import { expect, test } from "bun:test"
import { join } from "node:path"
import { run } from "../../cluster/run.ts"
import { slack } from "../../slack.ts"
import { type LocalAgent, startLocalAgent } from "./local-agent.ts"

const limitMs = 180_000

const exec = (agent: LocalAgent, options: string[], program: string[], env: Record<string, string> = {}) =>
  run([agent.binary, "exec", ...agent.options, "--progress", "off", ...options, "--", ...program], {
    env,
    timeoutSeconds: 120,
  })

/** Starts a program in a session and waits until it has printed "started". */
async function start(agent: LocalAgent, script: string) {
  const child = Bun.spawn([agent.binary, "exec", ...agent.options, "--progress", "off", "--", "sh", "-c", script], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const reader = child.stdout.getReader()
  let out = ""
  while (!out.includes("started")) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`ended early: ${await new Response(child.stderr).text()}`)
    out += new TextDecoder().decode(value)
  }
  return child
}

test(
  "the pod's variables win over the developer's, and the configuration over both",
  async () => {
    await using agent = await startLocalAgent({ FROM_POD: "pod", SHARED: "pod", SECRET: "pod" })
    const config = join(agent.folder, "config.json")
    const env = { override: { EXTRA: "set" }, exclude: ["SECRET"], unset: ["HIDDEN"], mapping: { "^FROM_": "mapped" } }
    await Bun.write(config, JSON.stringify({ feature: { env } }))
    const script = "echo $FROM_POD,$SHARED,$SECRET,$EXTRA,$HIDDEN,$OWN"
    const own = { SHARED: "own", OWN: "own", HIDDEN: "own" }
    expect((await exec(agent, [], ["sh", "-c", script], own)).stdout).toBe("pod,pod,pod,,own,own\n")
    expect((await exec(agent, ["-f", config], ["sh", "-c", script], own)).stdout).toBe("mapped,pod,,set,,own\n")
  },
  limitMs,
)

test(
  "the exit code is the program's; arguments and input pass through",
  async () => {
    await using agent = await startLocalAgent()
    expect((await exec(agent, [], ["sh", "-c", "exit 42"])).code).toBe(42)
    expect((await exec(agent, [], ["sh", "-c", "kill -9 $$"])).code).toBe(137)
    expect((await exec(agent, [], ["printf", "%s|", "a b", "--", "-t"])).stdout).toBe("a b|--|-t|")
    expect((await exec(agent, [], ["no-such-program"])).code).toBe(127)
  },
  limitMs,
)

test(
  "a session inside a session is refused",
  async () => {
    await using agent = await startLocalAgent()
    const inner = [agent.binary, "exec", ...agent.options, "--", "true"]
    const { code, stderr } = await exec(agent, [], inner)
    expect(stderr).toContain("[nested]")
    expect(code).toBe(1)
  },
  limitMs,
)

test.each([
  ["was killed", (agent: LocalAgent) => agent.kill()],
  ["hangs", async (agent: LocalAgent) => agent.freeze()],
])(
  "an agent that %s is noticed within 5 s, said, and the program ends",
  async (_, harm) => {
    await using agent = await startLocalAgent()
    // The program counts seconds as this busy machine has them, and opens nothing meanwhile.
    const child = await start(
      agent,
      `exec node -e 'console.log("started"); setInterval(() => console.error("a second"), 1000)'`,
    )
    await harm(agent)
    let complaint = ""
    for await (const chunk of child.stderr) complaint += new TextDecoder().decode(chunk)
    expect(await child.exited).toBe(1)
    const [before = "", after] = complaint.split("Lost the agent at unix:")
    expect(after).toBeDefined()
    expect(before.split("a second").length - 1).toBeLessThanOrEqual(5 * slack)
  },
  limitMs,
)

test(
  "SIGTERM reaches the program, and its answer the caller",
  async () => {
    await using agent = await startLocalAgent()
    const child = await start(agent, "trap 'exit 9' TERM; echo started; while :; do sleep 0.1; done")
    child.kill("SIGTERM")
    expect(await child.exited).toBe(9)
  },
  limitMs,
)

test(
  "an agent that cannot be reached is an error with a next step",
  async () => {
    await using agent = await startLocalAgent()
    const { code, stderr } = await run([
      agent.binary,
      "exec",
      "--agent-address",
      "unix:/nowhere/agent.sock",
      "-t",
      "pod/x",
      "--",
      "true",
    ])
    expect(code).toBe(1)
    expect(stderr).toContain("[agent-unreachable]")
    const bad = await run([agent.binary, "exec", "--agent-address", "nonsense", "-t", "pod/x", "--", "true"])
    expect(bad.code).toBe(2)
  },
  limitMs,
)
