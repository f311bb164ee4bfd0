import { readdir, stat } from "node:fs/promises"
import { join, resolve } from "node:path"
import * as valibot from "valibot"
import { AppError, errorText, fileFault } from "../errors.ts"
import * as api from "./api.ts"
import { checkShape, type LoadedPlugin, placeOf, pluginError } from "./check.ts"
import { lineInStack } from "./wire.ts"

/** A plugin file larger than this is no plugin, in bytes. */
const maxPluginBytes = 4 * 1024 * 1024

/**
 * Loads every plugin of a folder: files `NAME.ts` and `NAME.js`, and `NAME/plugin.ts` or `.js`, in the order of their
 * names. Files that begin with "." or "_" and type declarations are left alone.
 * @throws AppError "bad-plugin" naming file, line and reason; "no-plugin-folder"
 */
export async function loadFolder(folder: string): Promise<LoadedPlugin[]> {
  const loaded: LoadedPlugin[] = []
  for (const file of await pluginFiles(folder)) loaded.push(await loadFile(file))
  return loaded
}

/** @throws AppError "bad-plugin" */
export async function loadFile(file: string): Promise<LoadedPlugin> {
  const path = resolve(file)
  const source = await readSource(file)
  checkSyntax(file, source)
  provideModules()
  let module: { default?: unknown }
  try {
    module = await import(path)
  } catch (thrown) {
    throw pluginError(placeOf({ origin: file }, lineInStack(path, thrown)), errorText(thrown), thrown)
  }
  const loaded = checkShape(module.default, { origin: file, path, source })
  const expected = expectedName(file)
  if (loaded.plugin.name !== expected) {
    throw pluginError(file, `it is named "${loaded.plugin.name}", but its file says "${expected}"`)
  }
  return loaded
}

async function pluginFiles(folder: string): Promise<string[]> {
  const files: string[] = []
  let entries: Awaited<ReturnType<typeof list>>
  try {
    entries = await list(folder)
  } catch (thrown) {
    throw new AppError("no-plugin-folder", `Cannot read the plugin folder "${folder}": ${fileFault(thrown)}`, {
      cause: thrown,
      next: "Name an existing folder with --plugins or PODSIDE_PLUGINS.",
    })
  }
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (/^[._]/.test(entry.name) || entry.name === "node_modules") continue
    const kind = entry.isSymbolicLink() ? await stat(path) : entry
    if (kind.isDirectory()) {
      const inside = (await list(path))
        .map(({ name }) => name)
        .find((name) => name === "plugin.ts" || name === "plugin.js")
      if (inside) files.push(join(path, inside))
    } else if (/\.[jt]s$/.test(entry.name) && !/\.(d|test)\.ts$|\.test\.js$/.test(entry.name)) {
      files.push(path)
    }
  }
  return files
}

function list(folder: string) {
  return readdir(folder, { withFileTypes: true })
}

async function readSource(file: string): Promise<string> {
  try {
    const { size } = await stat(file)
    if (size > maxPluginBytes) throw new Error(`${size} bytes are more than the ${maxPluginBytes} a plugin may have`)
    const source = new TextDecoder("utf-8", { fatal: true }).decode(await Bun.file(file).bytes())
    if (source.includes("\0")) throw new Error("it is no text")
    return source
  } catch (thrown) {
    throw pluginError(file, `cannot be read: ${fileFault(thrown)}`, thrown)
  }
}

/** Parsed before it is run, because a parser's error knows its line and an import's does not always. */
function checkSyntax(file: string, source: string): void {
  try {
    new Bun.Transpiler({ loader: file.endsWith(".ts") ? "ts" : "js" }).transformSync(source)
  } catch (thrown) {
    const first = ((thrown as { errors?: unknown[] }).errors?.[0] ?? thrown) as {
      message?: string
      position?: { line?: number } | null
    }
    const line = first.position?.line
    throw pluginError(placeOf({ origin: file }, line), first.message ?? errorText(thrown), thrown)
  }
}

function expectedName(file: string): string {
  const parts = resolve(file).split("/")
  const base = (parts.at(-1) as string).replace(/\.[jt]s$/, "")
  return base === "plugin" ? (parts.at(-2) as string) : base
}

let provided = false

/**
 * A plugin's `import … from "podside"` and `… from "valibot"` get the running binary's own modules, wherever the file
 * lies: a second copy of valibot or of AppError would not be recognised.
 */
function provideModules(): void {
  if (provided) return
  provided = true
  Bun.plugin({
    name: "podside",
    setup(build) {
      build.module("podside", () => ({ loader: "object", exports: { ...api } }))
      build.module("valibot", () => ({ loader: "object", exports: { ...valibot } }))
    },
  })
}
