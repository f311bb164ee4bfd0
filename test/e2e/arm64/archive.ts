import { chmodSync, copyFileSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { buildBinary } from "../../../build.ts"
import { runtimeFor } from "../../../config/build/runtimes.ts"
import { goClient } from "../../fakes/go-client.ts"
import { type Piece, writeCpio } from "./cpio.ts"
import { guestFiles } from "./debian.ts"

const root = join(import.meta.dir, "../../..")
const project = ["agent", "config", "core", "plugins", "test", "package.json", "package-lock.json", "bunfig.toml"]
/** Of node_modules, what the tests run there import. */
const modules = ["valibot", "yaml"]
/** Nobody there reads manuals or drives devices. */
const leftOut = [
  /^(boot|var)\//,
  /^usr\/share\/(?!nodejs|python3)/,
  /^(usr\/)?lib\/(systemd|modules\/[^/]+\/kernel\/(drivers\/(?!net)|fs|crypto))/,
]
const keep = (path: string) => !leftOut.some((pattern) => pattern.test(path))
/** Folders that are links into /usr on every Debian, though its packages do not say so. */
const merged = ["bin", "lib", "sbin"]

/** Where the emulated machine's kernel and its first file system lie. */
export interface GuestImage {
  kernel: string
  files: string
}

/**
 * Builds podside for arm64 and puts it, this project and Debian's programs into an archive below `folder`; `init.sh` runs there.
 * @param suites test files to run, and how long each may take
 */
export async function guestImage(folder: string, suites: readonly string[], limitSeconds: number): Promise<GuestImage> {
  const runtime = await runtimeFor(root, "linux-arm64")
  const debian = await guestFiles()
  const [own, binary] = [join(folder, "own"), join(folder, "podside")]
  await buildBinary({ outfile: binary, runtime })
  for (const name of ["usr/local/bin", "podside/node_modules", "podside/dist"]) {
    mkdirSync(join(own, name), { recursive: true })
  }
  for (const name of merged) symlinkSync(`usr/${name}`, join(own, name))
  writeFileSync(join(own, "suites"), suites.map((path) => `${path} ${limitSeconds}\n`).join(""))
  copyFileSync(join(import.meta.dir, "init.sh"), join(own, "init"))
  chmodSync(join(own, "init"), 0o755)
  goClient(join(own, "usr/local/bin"), "arm64")
  const mergedFolders: Piece[] = merged.map((name) => ({ from: join(debian, name), to: `usr/${name}`, keep }))
  const files = join(folder, "files.cpio")
  await writeCpio(files, [
    { from: own, to: "" },
    ...mergedFolders,
    { from: debian, to: "", keep: (path) => keep(path) && !merged.includes(path) },
    { from: runtime.executable, to: "usr/local/bin/bun" },
    ...project.map((name) => ({ from: join(root, name), to: `podside/${name}` })),
    ...modules.map((name) => ({ from: join(root, "node_modules", name), to: `podside/node_modules/${name}` })),
    // Last, so that no source looks newer than it.
    { from: binary, to: "podside/dist/podside" },
  ])
  const kernel = readdirSync(join(debian, "boot")).find((name) => name.startsWith("vmlinuz-"))!
  return { kernel: join(debian, "boot", kernel), files }
}
