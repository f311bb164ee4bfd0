import { mkdir, mkdtemp, rename, rm } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { parseArgs } from "node:util"
import { type CLibrary, findCLibrary } from "./config/build/c-library.ts"
import type { Architecture } from "./config/build/oci-image.ts"
import { pluginDeclarations } from "./config/build/plugin-declarations.ts"
import { podsideImage } from "./config/build/podside-image.ts"
import { type Platform, platforms, type Runtime, runtimeFor } from "./config/build/runtimes.ts"
import { clientNodeFix } from "./core/kube/undici-fix.ts"

/*
 * npm run build              dist/podside for this machine
 * npm run build -- --all     dist/podside-PLATFORM for every platform, with dist/SHA256SUMS
 * npm run image              dist/podside-image.tar, the image "podside:dev" for Linux on this architecture; beside it
 *                            dist/podside-image-arm64.tar, where that C library is at hand
 * npm run image -- --arch arm64 --reference NAME:TAG --outfile FILE
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
  runtime?: Runtime
}

export async function buildBinary({ outfile, runtime }: BuildOptions): Promise<void> {
  // Always made under one name, which the binary contains: equal sources give equal bytes. Moved at the end, because
  // the binary it replaces may be running.
  await mkdir(dirname(outfile), { recursive: true })
  const folder = await mkdtemp(`${outfile}.build-`)
  try {
    const made = join(folder, runtime?.target.includes("windows") ? "podside.exe" : "podside")
    await compile(made, runtime)
    await rename(made, outfile)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function compile(outfile: string, runtime: Runtime | undefined): Promise<void> {
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

/** Every platform's binary, and their checksums in the form `sha256sum --check` reads. */
async function buildAll(folder: string): Promise<void> {
  const sums: string[] = []
  for (const platform of Object.keys(platforms) as Platform[]) {
    const name = `podside-${platform}${platform.startsWith("windows") ? ".exe" : ""}`
    await buildBinary({ outfile: join(folder, name), runtime: await runtimeFor(root, platform) })
    const hash = new Bun.CryptoHasher("sha256").update(await Bun.file(join(folder, name)).arrayBuffer()).digest("hex")
    sums.push(`${hash}  ${name}\n`)
    console.log(join("dist", name))
  }
  await Bun.write(join(folder, "SHA256SUMS"), sums.join(""))
}

/** Images of the architectures whose C library is here; the machine's own must be, for others a line says what is missing. */
async function buildImages(outfile: string, reference: string, only: string | undefined): Promise<void> {
  const own: Architecture = process.arch === "arm64" ? "arm64" : "amd64"
  if (only !== undefined && only !== "amd64" && only !== "arm64") throw new Error("--arch is amd64 or arm64")
  const wanted: readonly Architecture[] = only ? [only] : own === "arm64" ? [own] : [own, "arm64"]
  for (const architecture of wanted) {
    const library = findCLibrary(architecture)
    const file = architecture === (only ?? own) ? outfile : outfile.replace(/(\.tar)?$/, `-${architecture}.tar`)
    if (library) {
      await buildImage(file, reference, architecture, library)
      continue
    }
    const hint = architecture === "arm64" ? " (on Debian the package libc6-arm64-cross brings it)" : ""
    const complaint = `No image for linux/${architecture}: its C library, glibc, is not on this machine${hint}.`
    if (architecture === (only ?? own)) throw new Error(complaint)
    console.log(complaint)
  }
}

async function buildImage(outfile: string, reference: string, architecture: Architecture, library: CLibrary) {
  const binary = join(root, `dist/.image-${architecture}-${process.pid}`)
  try {
    const platform = architecture === "amd64" ? "linux-x64" : "linux-arm64"
    // The runtime at hand is the right one, unless another architecture is asked for.
    const runtime = platform === `linux-${process.arch}` ? undefined : await runtimeFor(root, platform)
    await buildBinary({ outfile: binary, runtime })
    const { parts, digest } = await podsideImage(root, { binary, architecture, library, reference })
    const writer = Bun.file(outfile).writer()
    for (const part of parts) writer.write(part)
    await writer.end()
    console.log(`${outfile}: ${reference} linux/${architecture} ${digest} (glibc ${library.version} of this machine)`)
  } finally {
    await rm(binary, { force: true })
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      all: { type: "boolean" },
      image: { type: "boolean" },
      arch: { type: "string" },
      reference: { type: "string", default: "podside:dev" },
      outfile: { type: "string" },
    },
  })
  const outfile = values.outfile ?? join(root, values.image ? "dist/podside-image.tar" : "dist/podside")
  if (values.all) await buildAll(dirname(outfile))
  else if (values.image) await buildImages(outfile, values.reference, values.arch)
  else {
    await buildBinary({ outfile })
    console.log(relative(process.cwd(), outfile))
  }
}

if (import.meta.main) {
  await main().catch((thrown) => {
    const reasons = thrown instanceof AggregateError ? [thrown.message, ...thrown.errors] : [thrown]
    for (const { message, position } of reasons) {
      console.error(position ? `${relative(root, position.file)}:${position.line}: ${message}` : (message ?? "failed"))
    }
    process.exit(1)
  })
}
