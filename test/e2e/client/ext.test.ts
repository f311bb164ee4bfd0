import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { podside } from "../../binary.ts"
import { run } from "../../cluster/run.ts"
import { type LocalAgent, startLocalAgent } from "./local-agent.ts"

const limitMs = 60_000

interface Line {
  type: string
  name?: string
  success?: boolean
  message?: string | null
}

/** Starts `podside ext` as an IDE plugin does and reads its lines up to the answer. */
async function prepare(agent: LocalAgent, words: string[]) {
  const config = join(agent.folder, "mirrord.json")
  await Bun.write(config, JSON.stringify({ feature: { env: { override: { EXTRA: "set" }, unset: ["HIDDEN"] } } }))
  const child = Bun.spawn([agent.binary, "ext", ...agent.options, "-f", config, ...words], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const lines: Line[] = []
  const isAnswer = ({ type, name }: Line) => type === "FinishedTask" && name === "mirrord preparing to launch"
  let rest = ""
  for await (const chunk of child.stdout) {
    const parts = (rest + Buffer.from(chunk).toString()).split("\n")
    rest = parts.pop()!
    lines.push(...parts.map((text) => JSON.parse(text)))
    if (lines.some(isAnswer)) break
  }
  const answer = lines.find(isAnswer)
  if (!answer) throw new Error(await new Response(child.stderr).text())
  return { child, lines, answer: JSON.parse(answer.message!) }
}

test(
  "an IDE gets the variables and a program to start; what it starts lives in the pod, and the session ends with it",
  async () => {
    await using agent = await startLocalAgent({ FROM_POD: "pod" })
    const { child, lines, answer } = await prepare(agent, ["-e", "/bin/sh"])
    expect(lines[0]).toMatchObject({ type: "NewTask", name: "mirrord preparing to launch", parent: null })
    expect(answer.env_to_unset).toContain("HIDDEN")
    expect(answer.uses_operator).toBe(false)
    expect(answer.environment).toMatchObject({ FROM_POD: "pod", EXTRA: "set" })
    expect(answer.environment.HIDDEN).toBeUndefined()
    const started = await run([answer.patched_path, "-c", 'echo "$FROM_POD $1"; exit 3', "sh", "an argument"], {
      env: { HIDDEN: "own" },
      timeoutSeconds: 40,
    })
    expect(started).toMatchObject({ code: 3, stdout: "pod an argument\n" })
    expect(await child.exited).toBe(0)
    expect(existsSync(dirname(answer.patched_path))).toBe(false)
  },
  limitMs,
)

test(
  "an IDE that gives up ends the session; without a program there is only the environment",
  async () => {
    await using agent = await startLocalAgent({ FROM_POD: "pod" })
    const { child, lines, answer } = await prepare(agent, [])
    expect(answer.patched_path).toBeNull()
    expect(answer.environment.FROM_POD).toBe("pod")
    expect(lines.some(({ type, message }) => type === "Warning" && message?.includes("-e"))).toBe(true)
    child.kill("SIGTERM")
    expect(await child.exited).toBe(0)
  },
  limitMs,
)

test(
  "what goes wrong is one JSON object on standard error",
  async () => {
    const { code, stdout, stderr } = await podside(["ext", "--agent-address", "unix:/nowhere.sock", "-t", "pod/any"])
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ severity: "error", code: "agent-unreachable", help: expect.any(String) })
    expect(JSON.parse(stdout.trim().split("\n").at(-1)!)).toMatchObject({
      type: "FinishedTask",
      name: "mirrord preparing to launch",
      success: false,
    })
    const listed = await podside(["ls"], { env: { KUBECONFIG: "/nowhere" } })
    expect(JSON.parse(listed.stderr)).toMatchObject({ severity: "error" })
    expect(listed.code).not.toBe(0)
  },
  limitMs,
)
