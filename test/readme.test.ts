import { expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { parse } from "yaml"
import { manifests } from "../config/manifests/objects.ts"
import { readValues } from "../config/manifests/values.ts"
import { hooks } from "../core/host/hooks.ts"
import { scripts } from "../package.json"
import { podside } from "./binary.ts"

/* What the README says is true: commands exist, links lead somewhere, the plugin is accepted. */

const root = join(import.meta.dir, "..")
const readme = await Bun.file(join(root, "README.md")).text()

test("every npm command it names is there", () => {
  const named = [...readme.matchAll(/npm (?:run )?([a-z]+)/g)].map(([, name]) => name as string)
  for (const name of new Set(named)) expect(Object.keys(scripts)).toContain(name)
})

test("every link of every page leads to a file", async () => {
  const pages = [...new Bun.Glob("**/*.md").scanSync(root)].filter((path) => !path.includes("node_modules/"))
  expect(pages).toContain("agent/README.md")
  for (const page of pages) {
    for (const [, target = ""] of (await Bun.file(join(root, page)).text()).matchAll(/\]\(([^)#]+)\)/g)) {
      if (!target.includes("://"))
        expect([page, target, existsSync(join(root, dirname(page), target))]).toEqual([page, target, true])
    }
  }
})

test("its configuration file is valid", async () => {
  const folder = await mkdtemp(join(tmpdir(), "podside-readme-"))
  try {
    const file = join(folder, "mirrord.json")
    await writeFile(file, /```json\n([\s\S]*?)```/.exec(readme)?.[1] as string)
    const { stdout } = await podside(["verify-config", file])
    expect(JSON.parse(stdout)).toMatchObject({ type: "Success", warnings: [] })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}, 120_000)

test("it names every hook of the operator, and none that there is not", () => {
  const table = /\| hook of the operator[\s\S]*?\n\n/.exec(readme)?.[0] ?? ""
  const named = [...table.matchAll(/`([a-z][A-Za-z]+)`/g)].map(([, name]) => name as string)
  expect(named.sort()).toEqual(Object.keys(hooks.operator).sort())
})

test("its values mount a plugin's folder where the operator looks, and set it up", () => {
  const given = parse(/```yaml\n([\s\S]*?)```/.exec(readme)?.[1] as string)
  const [deployment, settings] = ["Deployment", "ConfigMap"].map((kind) =>
    JSON.stringify(manifests(readValues(given)).find((object) => object.kind === kind)),
  )
  expect(deployment).toContain('{"name":"PODSIDE_PLUGINS","value":"/plugins"}')
  expect(deployment).toContain('{"name":"plugins","mountPath":"/plugins"}')
  expect(deployment).toContain('{"name":"plugins","configMap":{"name":"podside-plugins"}}')
  expect(settings).toContain("protectedPorts")
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
