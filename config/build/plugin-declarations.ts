import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { join, normalize } from "node:path"

/** What `import … from "podside"` means to a plugin. */
const entry = "core/host/api.ts"

/**
 * The declarations of the module "podside", made by TypeScript from the contracts themselves. Every source file becomes
 * an ambient module of its own ("podside/core/plugin"), so that names of different files cannot clash.
 * `root` is the checkout.
 */
export async function pluginDeclarations(root: string): Promise<string> {
  const folder = await mkdtemp(join(root, "node_modules/.plugin-types-"))
  try {
    await emitDeclarations(root, folder)
    const modules = new Map<string, string>()
    const packages = new Set<string>()
    for (const waiting = [entry]; waiting.length; ) {
      const source = waiting.pop() as string
      if (modules.has(source)) continue
      const text = await readFile(join(folder, source.replace(/\.ts$/, ".d.ts")), "utf8")
      const wrapped = text
        .replace(/(from |import\()"([^"]+)"/g, (_, before: string, specifier: string) => {
          if (!specifier.startsWith(".")) {
            if (!/^(node|bun):/.test(specifier)) packages.add(packageOf(specifier))
            return `${before}"${specifier}"`
          }
          const target = normalize(join(source, "..", specifier))
          waiting.push(target)
          return `${before}"${moduleName(target)}"`
        })
        .replace(/^(export )?declare /gm, "$1")
      modules.set(source, wrapped.trim())
    }
    const names = [...packages].map((name) => (name === "bun" ? "@types/bun" : name)).sort()
    const header = `// Types for podside's plugins. They build upon: npm install --save-dev ${names.join(" ")}\n`
    return header + [...modules].map(([source, text]) => ambient(moduleName(source), text)).join("\n")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function emitDeclarations(root: string, folder: string): Promise<void> {
  const project = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: { noEmit: false, declaration: true, emitDeclarationOnly: true, rootDir: root, outDir: folder },
    files: [join(root, entry)],
    include: [],
  }
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify(project))
  const tsc = Bun.spawn([join(root, "node_modules/.bin/tsc"), "-p", folder], { stdout: "pipe", stderr: "inherit" })
  const complaints = await new Response(tsc.stdout).text()
  if ((await tsc.exited) !== 0) throw new Error(`The plugin declarations do not compile:\n${complaints}`)
}

function moduleName(source: string): string {
  return source === entry ? "podside" : `podside/${source.replace(/\.ts$/, "")}`
}

/** "@scope/name/part" -> "@scope/name" */
function packageOf(specifier: string): string {
  const parts = specifier.split("/")
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/")
}

function ambient(name: string, text: string): string {
  const body = text.split("\n").map((line) => (line ? `  ${line}` : ""))
  return `declare module "${name}" {\n${body.join("\n")}\n}\n`
}
