import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"

/** Contracts a plugin's author sees, those that others build upon first. */
const sources = [
  "core/errors.ts",
  "core/log.ts",
  "core/target.ts",
  "core/session.ts",
  "core/interceptor.ts",
  "core/client/engine.ts",
  "core/plugin.ts",
]

const header = `// Types of podside's plugins. The types of settings and routes come from two packages:
//   npm install --save-dev valibot hono
`

/** One ambient module "podside", made by TypeScript from the contracts themselves. `root` is the checkout. */
export async function pluginDeclarations(root: string): Promise<string> {
  const folder = await mkdtemp(join(root, "node_modules/.plugin-types-"))
  try {
    const project = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: { noEmit: false, declaration: true, emitDeclarationOnly: true, rootDir: root, outDir: folder },
      files: sources.map((source) => join(root, source)),
      include: [],
    }
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(project))
    const tsc = Bun.spawn([join(root, "node_modules/.bin/tsc"), "-p", folder], { stdout: "pipe", stderr: "inherit" })
    const complaints = await new Response(tsc.stdout).text()
    if ((await tsc.exited) !== 0) throw new Error(`The plugin declarations do not compile:\n${complaints}`)
    const parts = await Promise.all(
      sources.map((each) => readFile(join(folder, each.replace(/\.ts$/, ".d.ts")), "utf8")),
    )
    return wrap(parts)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

function wrap(parts: readonly string[]): string {
  const imports = new Set<string>()
  const body = parts.map((part) =>
    part
      .replace(/^import .*?;\n/gm, (line) => {
        if (!line.includes('"./') && !line.includes('"../')) imports.add(line.trim())
        return ""
      })
      .replace(/^export \{\};\n/gm, "")
      .replace(/^export declare /gm, "export ")
      .replace(/^declare /gm, ""),
  )
  const lines = [...imports, 'export * as v from "valibot";', ...body.map((part) => part.trim())].join("\n").split("\n")
  return `${header}declare module "podside" {\n${lines.map((line) => (line ? `  ${line}` : "")).join("\n")}\n}\n`
}
