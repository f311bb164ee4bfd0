import { existsSync, rmSync, writeFileSync } from "node:fs"
import { AppError } from "../../core/errors.ts"
import { must } from "./run.ts"

/** Programs by name or path, and the Debian package that has each. */
export type Packages = Readonly<Record<string, string>>

/** What the cluster starts. */
export const clusterPrograms: Packages = {
  etcd: "etcd-server",
  containerd: "containerd",
  ctr: "containerd",
  runc: "runc",
  "/usr/lib/cni/ptp": "containernetworking-plugins",
  nft: "nftables",
  iptables: "iptables",
  conntrack: "conntrack",
  ip: "iproute2",
  busybox: "busybox-static",
  openssl: "openssl",
  unshare: "util-linux",
  mount: "mount",
  kubectl: "kubernetes-client",
}

/** What tests run besides; a test whose program is missing skips itself and says so. */
export const testPrograms: Packages = {
  "iptables-nft": "iptables",
  "iptables-legacy": "iptables",
  setpriv: "util-linux",
  ps: "procps",
  curl: "curl",
  // Not the one of some user's own: programs run as other users, too.
  "/usr/bin/python3": "python3",
  gcc: "gcc",
  "/usr/include/stdio.h": "libc6-dev",
  "musl-gcc": "musl-tools",
  zsh: "zsh",
  fish: "fish",
  skopeo: "skopeo",
  ...(process.arch === "x64" && {
    // For the image of the other architecture.
    "/usr/aarch64-linux-gnu/lib/libc.so.6": "libc6-arm64-cross",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-system-aarch64": "qemu-system-arm",
  }),
}

const policyFile = "/usr/sbin/policy-rc.d"

/**
 * Installs what is missing with apt, saying which. The packages' own services are not started.
 * @param programs default: what the cluster starts
 * @throws AppError "programs-missing" without apt, "packages-failed"
 */
export async function installPackages(say: (line: string) => void, programs = clusterPrograms): Promise<void> {
  const missing = Object.entries(programs).filter(([program]) => !present(program))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map(([, debianPackage]) => debianPackage))]
  if (!Bun.which("apt-get")) {
    throw new AppError("programs-missing", `This machine lacks ${missing.map(([program]) => program).join(", ")}`, {
      next: `Install what Debian calls ${packages.join(" ")}.`,
    })
  }
  say(`installing the Debian packages ${packages.join(" ")}`)
  const ownPolicy = !existsSync(policyFile)
  if (ownPolicy) writeFileSync(policyFile, "#!/bin/sh\nexit 101\n", { mode: 0o755 })
  try {
    const quiet = { env: { DEBIAN_FRONTEND: "noninteractive" }, timeoutSeconds: 600 }
    await must(["apt-get", "update", "-qq"], quiet)
    await must(["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages], quiet)
  } catch (cause) {
    throw new AppError("packages-failed", `Cannot install ${packages.join(" ")}: ${(cause as Error).message}`, {
      cause,
      next: "Check the internet connection and the package sources, or install them by hand.",
    })
  } finally {
    if (ownPolicy) rmSync(policyFile, { force: true })
  }
}

function present(program: string): boolean {
  return program.startsWith("/") ? existsSync(program) : Bun.which(program) !== null
}
