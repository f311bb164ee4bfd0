import { readFileSync } from "node:fs"
import { join } from "node:path"
import { version } from "../../package.json"
import { type CLibrary, folderEntries } from "./c-library.ts"
import { type Architecture, type ImageArchive, imageArchive } from "./oci-image.ts"
import type { TarEntry } from "./tar.ts"

/**
 * A plugin whose agent needs programs in the image names them in `plugins/NAME/image.ts`:
 * `export async function imageEntries(architecture): Promise<TarEntry[]>`.
 */
interface ImagePart {
  imageEntries(architecture: Architecture): Promise<TarEntry[]>
}

/**
 * The image of all roles: the binary, `/mirrord-agent` as another name of it, the C library, and nothing one could
 * log into. `root` is the checkout.
 */
export async function podsideImage(
  root: string,
  options: { binary: string; architecture: Architecture; library: CLibrary; reference: string },
): Promise<ImageArchive> {
  const { binary, architecture, library, reference } = options
  const entries: TarEntry[] = [
    ...folderEntries(["dev", "etc", "proc", "sys"]),
    { name: "tmp", mode: 0o1777 },
    // Without it the C library asks DNS before /etc/hosts.
    { name: "etc/nsswitch.conf", content: Buffer.from("hosts: files dns\n"), mode: 0o644 },
    ...library.entries,
    { name: "podside", content: readFileSync(binary) },
    // Clients start the agent as ./mirrord-agent in the working directory.
    { name: "mirrord-agent", link: "podside" },
    ...(await pluginEntries(root, architecture)),
  ]
  const settings = {
    reference,
    architecture,
    entrypoint: ["/podside"],
    environment: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/" },
    labels: {
      "org.opencontainers.image.title": "podside",
      "org.opencontainers.image.version": version,
      "org.opencontainers.image.licenses": "MIT",
      "podside.glibc": library.version,
      "podside.bun": Bun.version,
    },
  }
  return imageArchive(settings, entries)
}

async function pluginEntries(root: string, architecture: Architecture): Promise<TarEntry[]> {
  const parts = [...new Bun.Glob("plugins/*/image.ts").scanSync({ cwd: root })].sort()
  const lists = parts.map(async (path) => ((await import(join(root, path))) as ImagePart).imageEntries(architecture))
  return (await Promise.all(lists)).flat()
}
