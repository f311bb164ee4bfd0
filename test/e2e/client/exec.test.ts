import { expect, test } from "bun:test"
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run } from "../../cluster/run.ts"
import { slack } from "../../slack.ts"
import { until } from "../../until.ts"
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
  "variables that cannot be read are told before an agent is asked",
  async () => {
    await using agent = await startLocalAgent()
    const words = (address: string) => ["exec", "--agent-address", address, "--env-file", "no-such-file", "--", "true"]
    const outcome = await run([agent.binary, ...words("unix:/nonexistent")], { timeoutSeconds: 60 })
    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringContaining("[bad-env-file]") })
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
    expect(await exec(agent, [], [agent.folder])).toMatchObject({ code: 126, stderr: expect.stringContaining("chmod") })
  },
  limitMs,
)

test(
  "build tools, and programs that are named, are left alone",
  async () => {
    await using agent = await startLocalAgent()
    const [config, file, cargo] = ["config.json", "hidden.txt", "cargo"].map((name) => join(agent.folder, name))
    await Bun.write(file!, "of this machine")
    copyFileSync(Bun.which("cat")!, cargo!)
    chmodSync(cargo!, 0o755)
    const reads = async (program: string, options: string[] = [], keys: object = {}) => {
      await Bun.write(config!, JSON.stringify({ feature: { fs: { not_found: ["hidden"] } }, ...keys }))
      return (await exec(agent, ["-f", config!, ...options], [program, file!])).stdout === "of this machine"
    }
    expect(await reads("cat")).toBe(false)
    expect(await reads("cat", ["--skip-processes", "dog;cat"])).toBe(true)
    expect(await reads(cargo!)).toBe(true)
    expect(await reads(cargo!, [], { skip_build_tools: false })).toBe(false)
  },
  limitMs,
)

test(
  "of a program that has containers started it is said that they are outside",
  async () => {
    await using agent = await startLocalAgent()
    const docker = join(agent.folder, "docker")
    copyFileSync(Bun.which("echo")!, docker)
    const said = async (program: string) => {
      const { stdout } = await run([agent.binary, "exec", ...agent.options, "--progress", "lines", "--", program])
      return stdout.includes("containers, which its service starts, are not")
    }
    expect([await said(docker), await said("echo")]).toEqual([true, false])
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
  "what a program writes to a pipe waits for whoever reads it slowly",
  async () => {
    await using agent = await startLocalAgent()
    const command = [
      agent.binary,
      "exec",
      ...agent.options,
      "--",
      "sh",
      "-c",
      "cat /dev/zero | head -c 1000000; head -c 1000000 /dev/zero >&2",
    ]
    const quoted = command.map((word) => `'${word}'`).join(" ")
    const { stdout } = await run(
      ["sh", "-c", `{ ${quoted} 2>&3 | (sleep 3; wc -c); } 3>&1 | (sleep 4; tr -d '\\000' | tail -1)`],
      {
        timeoutSeconds: 120,
      },
    )
    expect(stdout.trim()).toBe("1000000")
  },
  limitMs,
)

test(
  "signals of a terminal, one after the other, are the program's: the session goes on until that ends",
  async () => {
    await using agent = await startLocalAgent({ FROM_POD: "pod" })
    // In a group of its own, as a terminal's foreground is; the kernel gives each of it the signal.
    const script = `let count = 0
      process.on("SIGINT", () => ++count === 3 && process.exit(9))
      console.log("started"); setInterval(() => {}, 1000)`
    const child = Bun.spawn([agent.binary, "exec", ...agent.options, "--progress", "off", "--", "node", "-e", script], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
      detached: true,
    })
    const reader = child.stdout.getReader()
    await reader.read()
    for (let count = 0; count < 3; count++) {
      process.kill(-child.pid, "SIGINT")
      await Bun.sleep(200)
    }
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
    expect(stderr).toContain("there is no such socket [agent-unreachable]")
    const bad = await run([agent.binary, "exec", "--agent-address", "nonsense", "-t", "pod/x", "--", "true"])
    expect(bad.code).toBe(2)
  },
  limitMs,
)

const canDrop = process.getuid?.() === 0 && Bun.which("setpriv") !== null
if (!canDrop) console.warn("SKIPPED: a program of another user, because that needs root and setpriv")

test.if(canDrop)(
  "a program that would change its user is refused, for that user it is none",
  async () => {
    await using agent = await startLocalAgent()
    const folder = mkdtempSync(join(tmpdir(), "podside-setuid-"))
    try {
      chmodSync(folder, 0o755)
      for (const name of ["podside", "true"]) {
        copyFileSync(name === "true" ? Bun.which("true")! : agent.binary, join(folder, name))
      }
      chmodSync(join(folder, "true"), 0o4755)
      chmodSync(agent.folder, 0o755)
      chmodSync(join(agent.folder, "agent.sock"), 0o777)
      const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
      const start = (under: string[]) =>
        run(
          [
            ...under,
            join(folder, "podside"),
            "exec",
            ...agent.options,
            "--progress",
            "off",
            "--",
            join(folder, "true"),
          ],
          {
            timeoutSeconds: 40,
          },
        )
      const refused = await start(asNobody)
      expect(refused.stderr).toContain("[setuid-program]")
      expect(refused.code).toBe(1)
      expect(await start([])).toMatchObject({ code: 0, stderr: "" })
      chmodSync(join(folder, "true"), 0o755)
      expect(await start(asNobody)).toMatchObject({ code: 0, stderr: "" })
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
  limitMs,
)

test(
  "a machine that refuses pidfd_getfd runs programs all the same, and that is said",
  async () => {
    await using agent = await startLocalAgent({ FROM_POD: "pod" })
    const deny = [process.execPath, join(import.meta.dir, "../../fakes/deny-call.ts"), "438"]
    const words = ["exec", ...agent.options, "--", "sh", "-c", "echo $FROM_POD"]
    const { code, stdout, stderr } = await run([...deny, agent.binary, ...words], { timeoutSeconds: 40 })
    expect({ code, stdout }).toEqual({ code: 0, stdout: "pod\n" })
    expect(stderr).toContain("! On this machine descriptors of programs cannot be fetched (pidfd_getfd is refused)")
    expect((await run([agent.binary, ...words], { timeoutSeconds: 40 })).stderr).not.toContain("pidfd_getfd")
    const examined = await run([...deny, agent.binary, "doctor"], { timeoutSeconds: 40 })
    expect(examined.stdout).toContain("! process engine: works, with limits: descriptors of programs cannot be fetched")
  },
  limitMs,
)

test(
  "what a program sends before it ends arrives whole, at a server that reads slowly",
  async () => {
    await using agent = await startLocalAgent()
    const total = 24_000_000
    let received = 0
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, data) {
          received += data.length
          socket.pause()
          setTimeout(() => socket.resume(), 2)
        },
      },
    })
    const script = `head -c ${total} /dev/zero >/dev/tcp/127.0.0.1/${server.port}`
    const { code, stderr } = await exec(agent, [], ["bash", "-c", script])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    await until(() => received === total, "it never came whole")
  },
  limitMs,
)
