import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test"
import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { installed } from "../../../test/fakes/run-in-world.ts"
import { canMakeUserNamespaces } from "./kernel/rung.ts"

/** Whole suites run inside of one test here, on machines that may be busy. */
setDefaultTimeout(500_000)

const fake = (name: string) => join(import.meta.dir, "../../../test/fakes", name)
const pidfdGetfd = "438"
const nobody = 65534
const isRoot = process.getuid!() === 0

async function outcome(command: string[]): Promise<{ code: number; output: string }> {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe", env: { ...process.env, BUN_OPTIONS: "" } })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { code: await child.exited, output: out + err }
}

test("where descriptors cannot be fetched, everything else works as everywhere", async () => {
  const suites = ["files", "files-at-once", "network", "datagrams", "signals", "incoming", "process"].map((name) =>
    join(import.meta.dir, `${name}.test.ts`),
  )
  const denied = [process.execPath, fake("deny-call.ts"), pidfdGetfd, process.execPath]
  const { code, output } = await outcome([...denied, "test", ...suites])
  if (code !== 0) console.error(output)
  expect(code).toBe(0)
  expect(output).toMatch(/^ 0 fail$/m)
})

// The kernel lets nobody look into a program its user may not read, as ptrace_scope 2 does it with every program; whoever
// made the user namespace it runs in may all the same.
const folder = mkdtempSync(join(tmpdir(), "podside-unreadable-"))
const program = join(folder, "cat")
beforeAll(() => {
  copyFileSync(Bun.which("cat")!, program)
  chmodSync(folder, 0o755)
  if (isRoot) chownSync(program, nobody, nobody)
  chmodSync(program, 0o111)
})
afterAll(() => rmSync(folder, { recursive: true }))

const canDrop = !isRoot || installed("setpriv")
if (!canMakeUserNamespaces()) console.warn("SKIPPED: no user namespaces can be made here")

test.if(canDrop && canMakeUserNamespaces())(
  "a user namespace lets the engine look where it may not otherwise",
  async () => {
    const asNobody = isRoot ? ["setpriv", "--reuid", `${nobody}`, "--regid", `${nobody}`, "--clear-groups"] : []
    const run = (...words: string[]) => outcome([...asNobody, process.execPath, fake("true-in-world.ts"), ...words])
    const without = await run(program, "/remote/a.txt")
    expect(without.output).toContain("No such file")
    const within = await run("--user-namespace", program, "/remote/a.txt")
    expect(within.output).toBe("hello from the pod\nended with 0\n")
    const who = await run("--user-namespace", "id", "-u")
    expect(who.output).toBe(`${isRoot ? nobody : process.getuid!()}\nended with 0\n`)
  },
)
