import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { scripts } from "../package.json"
import { podside } from "./binary.ts"

/* What the README says is true: commands exist, links lead somewhere, the plugin is accepted. */

const root = join(import.meta.dir, "..")
const readme = await Bun.file(join(root, "README.md")).text()

test("every npm command it names is there", () => {
  const named = [...readme.matchAll(/npm (?:run )?([a-z]+)/g)].map(([, name]) => name as string)
  for (const name of new Set(named)) expect(Object.keys(scripts)).toContain(name)
})

test("every link leads to a file", () => {
  for (const [, target = ""] of readme.matchAll(/\]\(([^)#]+)\)/g)) {
    if (!target.includes("://")) expect([target, existsSync(join(root, target))]).toEqual([target, true])
  }
})

test("its plugin is accepted", async () => {
  const source = /```ts\n\/\/ plugins\/port-guard\.ts[^\n]*\n([\s\S]*?)```/.exec(readme)?.[1] as string
  const folder = await mkdtemp(join(tmpdir(), "podside-readme-"))
  try {
    await mkdir(join(folder, "plugins"))
    await writeFile(join(folder, "plugins/port-guard.ts"), source)
    const { stdout, stderr } = await podside(["plugin", "check", "plugins/port-guard.ts"], { cwd: folder })
    expect(stderr).toBe("")
    expect(stdout).toContain("operator: authorizeSubscription")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 120_000)
