import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { World } from "../../../core/client/engine.ts"
import { AppError } from "../../../core/errors.ts"
import { silentLogger } from "../../../core/log.ts"
import { MemoryFiles } from "../../../test/fakes/memory-files.ts"
import { MemoryDns, MemoryIncoming, MemoryNetwork } from "../../../test/fakes/memory-network.ts"
import { installed, keepingLogger, runIn } from "../../../test/fakes/run-in-world.ts"
import { createEngine } from "./engine.ts"

/** Programs of every kind are started, on machines that may be busy. */
setDefaultTimeout(120_000)

const whole = (): World => ({
  files: new MemoryFiles({ files: { "/remote/a.txt": "hello from the pod\n" } }),
  outgoing: new MemoryNetwork(),
  dns: new MemoryDns({}),
  incoming: new MemoryIncoming(),
  hostname: async () => "the-pod",
})

const sh = (script: string, world = whole()) => runIn(world, ["bash", "-c", script])

describe("the end of a program", () => {
  test.each([
    ["its exit code", "exit 7", 7],
    ["success", "true", 0],
    ["a signal", "kill -9 $$", 137],
    ["a broken pipe, which is not ignored", "kill -PIPE $$", 141],
  ])("%s comes through", async (_, script, code) => {
    expect((await sh(script)).code).toBe(code)
  })

  test("a forwarded signal reaches the program's own handler", async () => {
    const ready = Promise.withResolvers<void>()
    const outgoing = new MemoryNetwork({ connecting: () => ready.resolve() })
    const script = "trap 'echo bye; exit 5' TERM; exec 3<>/dev/tcp/10.99.1.1/7; sleep 30 & wait"
    const { code, output } = await runIn({ ...whole(), outgoing }, ["bash", "-c", script], {
      running: (program) => void ready.promise.then(() => program.kill("SIGTERM")),
    })
    expect({ code, output }).toEqual({ code: 5, output: "bye\n" })
  })

  test("processes left behind end with it", async () => {
    const { code, output } = await sh("setsid sleep 1000 & echo $!")
    expect(code).toBe(0)
    expect(() => process.kill(Number(output), 0)).toThrow()
  })

  test("nothing stays open in this process", async () => {
    const openFiles = () => readdirSync("/proc/self/fd").length
    await sh("cat /remote/a.txt")
    const before = openFiles()
    await sh("cat /remote/a.txt; cat < /remote/a.txt > /remote/b")
    // The thread's own ones are closed a little later.
    const limit = Date.now() + 30_000
    while (openFiles() > before && Date.now() < limit) await Bun.sleep(20)
    expect(openFiles()).toBeLessThanOrEqual(before)
  })
})

test("that a program exists only in the pod is said", async () => {
  const { log, lines } = keepingLogger()
  const files = new MemoryFiles({ files: { "/remote/tool": "#!/bin/sh\n" } })
  await runIn({ files }, ["bash", "-c", "/remote/tool; /nowhere/tool; true"], { log })
  const said = lines.filter((line) => line.includes("exists only in the pod"))
  expect(said).toHaveLength(1)
  expect(said[0]).toContain("/remote/tool")
})

describe("the start of a program", () => {
  const start = (command: string, cwd = "/") =>
    createEngine().launch({ command, args: [], cwd, env: { PATH: "/usr/bin:/bin" }, world: whole(), log: silentLogger })

  test("an unknown program is a clear error", async () => {
    const thrown = await start("no-such-program").catch((error) => error)
    expect(thrown).toBeInstanceOf(AppError)
    expect([thrown.code, thrown.exitCode]).toEqual(["program-not-started", 127])
  })

  test("a file that may not be executed, too", async () => {
    const thrown = await start("/etc/passwd").catch((error) => error)
    expect([thrown.code, thrown.exitCode]).toEqual(["program-not-started", 126])
  })

  test("the environment arrives untouched and only in the program", async () => {
    const env = { BUN_OPTIONS: "--preload /none.ts", NODE_OPTIONS: "x", ODD: "a=b c\n'd'", EMPTY: "" }
    const { code, output } = await runIn(whole(), ["env", "-0"], { env })
    expect(code).toBe(0)
    for (const [name, value] of Object.entries(env)) expect(output.split("\0")).toContain(`${name}=${value}`)
  })

  test("the working directory, no descriptors of ours, the limits of whoever started us", async () => {
    const { output } = await runIn(whole(), ["bash", "-c", "pwd; ls /proc/self/fd | wc -l; ulimit -n"], { cwd: "/usr" })
    const limit = Bun.spawnSync([
      "bash",
      "-c",
      `sed -n 's/^Max open files *\\([0-9]*\\).*/\\1/p' /proc/${process.ppid}/limits`,
    ])
    // 0, 1, 2, and the one that lists.
    expect(output).toBe(`/usr\n4\n${limit.stdout.toString()}`)
  })
})

test("the pod's host name", async () => {
  // The first answer comes from one thread, later ones from another.
  expect((await sh("hostname; uname -n; uname -sn; hostname")).output).toBe(
    "the-pod\nthe-pod\nLinux the-pod\nthe-pod\n",
  )
  expect((await sh("uname -n", {})).output).not.toBe("the-pod\n")
})

test("children, grandchildren, threads and pipelines live in the pod", async () => {
  const { output } = await sh(
    "(cat /remote/a.txt | (cat; bash -c 'cat /remote/a.txt')) | sort -u; echo $(</remote/a.txt)",
  )
  expect(output).toBe("hello from the pod\nhello from the pod\n")
})

test.if(installed("python3"))("threads, fork, posix_spawn and vfork", async () => {
  const script = `
import os, subprocess, threading
r = []
def read(): r.append(open("/remote/a.txt").read())
ts = [threading.Thread(target=read) for _ in range(32)]; [t.start() for t in ts]; [t.join() for t in ts]; print(len(r), set(r))
if os.fork() == 0: print(open("/remote/a.txt").read(), end="", flush=True); os._exit(0)
os.wait()
p = os.posix_spawn("/bin/cat", ["cat", "/remote/a.txt"], {}); os.waitpid(p, 0)
print(subprocess.check_output(["cat", "/remote/a.txt"]))
`
  expect((await runIn(whole(), ["/usr/bin/python3", "-u", "-c", script])).output).toBe(
    `32 {'hello from the pod\\n'}\nhello from the pod\nhello from the pod\nb'hello from the pod\\n'\n`,
  )
})

test.if(installed("python3"))("io_uring is not there, so nothing goes around the engine", async () => {
  const script = `
import ctypes
l = ctypes.CDLL(None, use_errno=True); l.syscall(425, 1, ctypes.create_string_buffer(200)); print(ctypes.get_errno())
`
  expect((await runIn(whole(), ["/usr/bin/python3", "-c", script])).output).toBe("38\n")
})

test("a setuid program is told of", async () => {
  const { log, lines } = keepingLogger()
  const folder = mkdtempSync(join(tmpdir(), "podside-setuid-"))
  const [others, mine] = [join(folder, "others"), join(folder, "mine")]
  try {
    for (const program of [others, mine]) copyFileSync(Bun.which("true")!, program)
    if (process.getuid!() === 0) chownSync(others, 65534, 65534)
    for (const program of [others, mine]) chmodSync(program, 0o4755)
    await runIn(whole(), ["bash", "-c", `${others}; ${mine}; true`], { log })
  } finally {
    rmSync(folder, { recursive: true })
  }
  const told = lines.filter((line) => line.includes("changes its user"))
  // Only root can give a file away.
  expect(told).toHaveLength(process.getuid!() === 0 ? 1 : 0)
  if (told[0]) expect(told[0]).toContain(others)
})

test("a session inside of a session has its own error", async () => {
  const inner = join(import.meta.dir, "../../../test/fakes/true-in-world.ts")
  const { code, output } = await runIn(whole(), [process.execPath, inner])
  expect(output).toContain("nested-session")
  expect(code).toBe(1)
  // The same program outside of a session.
  const alone = Bun.spawnSync([process.execPath, inner])
  expect([alone.exitCode, alone.stdout.toString()]).toEqual([0, "ended with 0\n"])
})

test("a program ends when its engine is killed", async () => {
  const inner = join(import.meta.dir, "../../../test/fakes/true-in-world.ts")
  const engine = Bun.spawn([process.execPath, inner, "bash", "-c", "echo $$; exec sleep 1000"], { stdout: "pipe" })
  const { value } = await engine.stdout.getReader().read()
  const program = Number(Buffer.from(value!).toString())
  const isAlive = () => Bun.spawnSync(["grep", "-qs", "^State:.[^ZX]", `/proc/${program}/status`]).exitCode === 0
  expect(isAlive()).toBe(true)
  engine.kill("SIGKILL")
  await engine.exited
  const limit = Date.now() + 30_000
  while (isAlive() && Date.now() < limit) await Bun.sleep(20)
  expect(isAlive()).toBe(false)
})

test.if(installed("setpriv"))("an ordinary user needs no privileges", async () => {
  const inner = join(import.meta.dir, "../../../test/fakes/true-in-world.ts")
  const asNobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
  if (process.getuid!() !== 0) asNobody.length = 0
  if (Bun.spawnSync([...asNobody, "test", "-r", inner]).exitCode !== 0) {
    console.warn("SKIPPED: an ordinary user cannot read this project's folder")
    return
  }
  const script = "id -u; cat /remote/a.txt; cat < /remote/a.txt > /remote/b; cat /remote/b; uname -n"
  const { stdout, stderr } = Bun.spawnSync([...asNobody, process.execPath, inner, "bash", "-c", script], {
    env: { PATH: "/usr/bin:/bin", HOME: "/nonexistent" },
  })
  const uid = asNobody.length > 0 ? 65534 : process.getuid!()
  expect(stdout.toString() + stderr.toString()).toBe(
    `${uid}\nhello from the pod\nhello from the pod\nthe-pod\nended with 0\n`,
  )
})
