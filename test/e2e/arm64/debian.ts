import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cacheFolder } from "../../cluster/layout.ts"
import { withLock } from "../../cluster/lock.ts"
import { must } from "../../cluster/run.ts"

/** The kernel and the programs of the emulated machine, by Debian's names. */
const packages = [
  "linux-image-cloud-arm64",
  ...["bash", "busybox-static", "coreutils", "curl", "dash", "findutils", "grep", "hostname", "iproute2", "kmod"],
  ...["mount", "nodejs", "procps", "python3", "sed", "util-linux"],
]

/**
 * A folder with the files of Debian's arm64 packages, fetched once into the user's cache.
 * @throws AppError "command-failed" when the package sources of this machine have none for arm64
 */
export async function guestFiles(): Promise<string> {
  const folder = join(cacheFolder(), "arm64", Bun.hash(packages.join(" ")).toString(36))
  return withLock(
    `${folder}.lock`,
    900,
    () => {},
    async () => {
      if (!existsSync(folder)) await fetchFiles(folder)
      return folder
    },
  )
}

async function fetchFiles(folder: string): Promise<void> {
  const work = `${folder}.partial`
  rmSync(work, { recursive: true, force: true })
  for (const name of ["state/lists/partial", "cache/archives/partial", "files"]) {
    mkdirSync(join(work, name), { recursive: true })
  }
  // A package manager of its own, which believes in a machine of that kind with nothing on it.
  const settings = join(work, "apt.conf")
  writeFileSync(
    settings,
    [
      'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; APT::Sandbox::User "";',
      `Dir::State "${work}/state"; Dir::State::status "${work}/state/status"; Dir::Cache "${work}/cache";`,
    ].join("\n"),
  )
  writeFileSync(join(work, "state/status"), "")
  const options = { env: { APT_CONFIG: settings, DEBIAN_FRONTEND: "noninteractive" }, timeoutSeconds: 300 }
  await must(["apt-get", "update", "-qq"], options)
  await must(["apt-get", "install", "-qq", "-y", "--download-only", "--no-install-recommends", ...packages], options)
  const archives = join(work, "cache/archives")
  for (const name of readdirSync(archives).filter((each) => each.endsWith(".deb"))) {
    await must(["dpkg-deb", "--extract", join(archives, name), join(work, "files")])
  }
  renameSync(join(work, "files"), folder)
  rmSync(work, { recursive: true, force: true })
}
