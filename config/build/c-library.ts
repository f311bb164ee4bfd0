import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Architecture } from "./oci-image.ts"
import type { TarEntry } from "./tar.ts"

/** What the runtime links to, and what it opens by name. */
const libraries = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2"]

/** Where distributions keep the library: as found here, and as the loader of that distribution expects it. */
const places: Record<Architecture, { loader: string; folders: readonly { here: string; there: string }[] }> = {
  amd64: {
    loader: "lib64/ld-linux-x86-64.so.2",
    folders: [
      { here: "/lib/x86_64-linux-gnu", there: "lib/x86_64-linux-gnu" },
      { here: "/lib64", there: "lib64" },
      { here: "/usr/lib", there: "usr/lib" },
    ],
  },
  arm64: {
    loader: "lib/ld-linux-aarch64.so.1",
    folders: [
      { here: "/lib/aarch64-linux-gnu", there: "lib/aarch64-linux-gnu" },
      // Debian's libc6-arm64-cross: the same files, for building on other machines.
      { here: "/usr/aarch64-linux-gnu/lib", there: "lib/aarch64-linux-gnu" },
      { here: "/lib64", there: "lib64" },
    ],
  },
}

export interface CLibrary {
  entries: TarEntry[]
  /** "2.36" */
  version: string
  /** Folder the files were taken from. */
  from: string
}

/** The C library of this machine for an image of that architecture; undefined when there is none. */
export function findCLibrary(architecture: Architecture): CLibrary | undefined {
  const { loader, folders } = places[architecture]
  const loaderName = loader.split("/").at(-1) as string
  for (const { here, there } of folders) {
    const complete = [...libraries, loaderName].every((name) => existsSync(join(here, name)))
    if (!complete || !isFor(architecture, join(here, "libc.so.6"))) continue
    const file = (name: string, from: string, mode: number) => ({ name, content: readFileSync(join(here, from)), mode })
    return {
      entries: [
        ...folderEntries([loader.slice(0, loader.lastIndexOf("/")), there]),
        file(loader, loaderName, 0o755),
        ...libraries.map((name) => file(`${there}/${name}`, name, 0o644)),
      ],
      version: versionOf(join(here, "libc.so.6")),
      from: here,
    }
  }
  return undefined
}

/** An entry for each folder and those above it, once. */
export function folderEntries(paths: readonly string[]): TarEntry[] {
  const all = paths.flatMap((path) => path.split("/").map((_, index, parts) => parts.slice(0, index + 1).join("/")))
  return [...new Set(all)].sort().map((name) => ({ name }))
}

/** ELF header: machine is a little-endian u16 at offset 18; 62 = x86-64, 183 = AArch64. */
function isFor(architecture: Architecture, file: string): boolean {
  return readFileSync(file).readUInt16LE(18) === (architecture === "amd64" ? 62 : 183)
}

/** The C library carries its own banner: "GNU C Library (…) stable release version 2.36." */
function versionOf(file: string): string {
  return /release version (\d+\.\d+)/.exec(readFileSync(file, "latin1"))?.[1] ?? "unknown"
}
