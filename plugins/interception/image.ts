import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

interface Entry {
  name: string
  content?: Uint8Array
  link?: string
  mode?: number
}

const programs = ["xtables-legacy-multi", "xtables-nft-multi"]
const libraries = ["libxtables.so.12", "libip4tc.so.2", "libip6tc.so.2", "libmnl.so.0", "libnftnl.so.11"]
/** Matches and targets of iptables; all of them, because rules of others must be readable, too. */
const extension = /^lib(xt|ipt|ip6t)_\w+\.so$/

const places = {
  amd64: { runs: "x64", libraries: "lib/x86_64-linux-gnu" },
  arm64: { runs: "arm64", libraries: "lib/aarch64-linux-gnu" },
} as const

/**
 * The iptables programs of this machine with what they load. Without them, or for another architecture, the image has none and the
 * agent works by nf_tables alone.
 */
export async function imageEntries(architecture: keyof typeof places): Promise<Entry[]> {
  const place = places[architecture]
  const extensions = join("usr", place.libraries, "xtables")
  const needed = [
    ...programs.map((name) => join("usr/sbin", name)),
    ...libraries.map((name) => join(place.libraries, name)),
  ]
  if (place.runs !== process.arch || ![...needed, extensions].every((path) => existsSync(join("/", path)))) return []
  const modules = readdirSync(join("/", extensions)).filter((name) => extension.test(name))
  const files = [...needed, ...modules.sort().map((name) => join(extensions, name))]
  return [
    // The lock of the legacy tables lies in /run.
    ...["run", "usr", "usr/lib", "usr/sbin", join("usr", place.libraries), extensions].map((name) => ({ name })),
    ...files.map((name) => ({
      name,
      content: readFileSync(join("/", name)),
      mode: name.startsWith("usr/sbin/") ? 0o755 : 0o644,
    })),
    ...["legacy", "nft"].flatMap((kind) =>
      ["iptables", "ip6tables"].flatMap((program) =>
        ["", "-restore"].map((suffix) => ({
          name: `usr/sbin/${program}-${kind}${suffix}`,
          link: `xtables-${kind}-multi`,
        })),
      ),
    ),
  ]
}
