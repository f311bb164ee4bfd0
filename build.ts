import { mkdir, rm } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { parseArgs } from "node:util"
import { pluginDeclarations } from "./config/build/plugin-declarations.ts"
import { clientNodeFix } from "./core/kube/undici-fix.ts"

/*
 * npm run build              dist/podside for this machine
 */

const root = import.meta.dir

/** Modules rewritten while bundling; `bunfig.toml` preloads the same ones for `bun test`. */
const plugins = [clientNodeFix]

/** Files called NAME.worker.ts start threads: the binary has to contain each as an entry of its own. */
function workerEntries(): string[] {
  const found = new Bun.Glob("{core,agent,plugins}/**/*.worker.ts").scanSync({ cwd: root })
  return [...found].sort().map((path) => join(root, path))
}

export interface BuildOptions {
  outfile: string
  /** Runtime to build upon; absent: the one that runs this program. */
  runtime?: { target: Bun.Build.CompileTarget; executable: string }
}

export async function buildBinary({ outfile, runtime }: BuildOptions): Promise<void> {
  const result = await Bun.build({
    entrypoints: [join(root, "core/main.ts"), ...workerEntries()],
    root,
    format: "esm",
    minify: true,
    bytecode: true,
    // Each role and command is a chunk of its own, read only when it runs.
    splitting: true,
    plugins,
    define: { PODSIDE_PLUGIN_TYPES: JSON.stringify(await pluginDeclarations(root)) },
    compile: {
      outfile,
      ...(runtime && { target: runtime.target, executablePath: runtime.executable }),
      // Otherwise the binary would obey files of whatever folder it is started in.
      autoloadDotenv: false,
      autoloadBunfig: false,
      autoloadTsconfig: false,
      autoloadPackageJson: false,
    },
  })
  if (!result.success) throw new AggregateError(result.logs, "The build failed")
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { outfile: { type: "string", default: join(root, "dist/podside") } } })
  await mkdir(dirname(values.outfile), { recursive: true })
  // Removed first: a binary that is running cannot be written to.
  await rm(values.outfile, { force: true })
  await buildBinary({ outfile: values.outfile })
  console.log(relative(process.cwd(), values.outfile))
}
