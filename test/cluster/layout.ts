import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"

/** Where a cluster lives: its folder on the host, its name and its addresses. Every cluster has a slot of its own. */
export interface Layout {
  name: string
  /** 0 to 9; chooses the address ranges and the name of the host's interface. */
  slot: number
  /** State of the cluster on the host; the cluster's processes see it as `/mnt`. */
  folder: string
  node: string
  hostInterface: string
  hostAddress: string
  nodeAddress: string
  podRange: string
  serviceRange: string
  /** First address of the service range: the API server from inside. */
  apiServiceAddress: string
  /** Null where the kernel has no IPv6. */
  v6: { hostAddress: string; nodeAddress: string; podRange: string; serviceRange: string } | null
  /** Folder of the cluster's control groups below each hierarchy. */
  controlGroup: string
}

/** Of the cluster that is meant when no `--name` says otherwise. */
export const defaultName = process.env["PODSIDE_TEST_CLUSTER"] || "podside"
export const slotCount = 10
const v6Switch = "/proc/sys/net/ipv6/conf/default/disable_ipv6"

/** The versioned programs and the clusters' state; `XDG_CACHE_HOME` moves it. */
export function cacheFolder(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "podside")
}

export function clusterFolder(name: string): string {
  if (!/^[a-z][a-z0-9-]{0,29}$/.test(name)) {
    throw new AppError("bad-cluster-name", `"${name}" cannot name a cluster`, {
      next: "Use up to 30 lower-case letters, digits and dashes, starting with a letter.",
      exitCode: 2,
    })
  }
  return join(cacheFolder(), "clusters", name)
}

export function layoutOf(name: string, slot: number): Layout {
  const hasV6 = existsSync(v6Switch) && readFileSync(v6Switch, "utf8").trim() === "0"
  return {
    name,
    slot,
    folder: clusterFolder(name),
    node: `${name}-node`,
    hostInterface: `podside${slot}`,
    hostAddress: `10.90.${slot}.1`,
    nodeAddress: `10.90.${slot}.2`,
    podRange: `10.${244 - slot}.0.0/16`,
    serviceRange: `10.${96 + slot}.0.0/16`,
    apiServiceAddress: `10.${96 + slot}.0.1`,
    v6: hasV6
      ? {
          hostAddress: `fd90:90:${slot}::1`,
          nodeAddress: `fd90:90:${slot}::2`,
          podRange: `fd90:244:${slot}::/64`,
          serviceRange: `fd90:96:${slot}::/112`,
        }
      : null,
    controlGroup: `podside-cluster-${name}`,
  }
}

/** The layout a running or stopped cluster was made with, or null when there is none of this name. */
export function readLayout(name: string): Layout | null {
  const file = join(clusterFolder(name), "slot")
  return existsSync(file) ? layoutOf(name, Number(readFileSync(file, "utf8"))) : null
}

/**
 * The layout of this name, made on first use with a slot no other cluster has and no route of the host covers.
 * @param routes output of `ip route show`
 */
export function claimLayout(name: string, routes: string): Layout {
  const known = readLayout(name)
  if (known) return known
  const others = join(cacheFolder(), "clusters")
  const taken = new Set(
    (existsSync(others) ? readdirSync(others) : [])
      .map((other) => readLayout(other)?.slot)
      .filter((slot) => slot !== undefined),
  )
  for (let slot = 0; slot < slotCount; slot++) {
    const layout = layoutOf(name, slot)
    if (taken.has(slot) || covers(routes, layout)) continue
    mkdirSync(layout.folder, { recursive: true })
    writeFileSync(join(layout.folder, "slot"), String(slot))
    return layout
  }
  throw new AppError("no-free-range", "No address range is left for another cluster", {
    next: "Bring a cluster down, or remove the routes for 10.90.0.0/16 that the host has.",
  })
}

/** Whether a route of the host already leads into one of the layout's ranges; a default route is no obstacle. */
function covers(routes: string, layout: Layout): boolean {
  const ranges = [`${layout.hostAddress}/24`, layout.podRange, layout.serviceRange].map(parseRange)
  return routes
    .split("\n")
    .map((line) => line.trim().split(/\s+/)[0] ?? "")
    .filter((target) => /^\d+\.\d+\.\d+\.\d+(\/\d+)?$/.test(target))
    .map(parseRange)
    .some((route) =>
      ranges.some((range) => {
        const bits = Math.min(route.bits, range.bits)
        return bits > 0 && route.address >>> (32 - bits) === range.address >>> (32 - bits)
      }),
    )
}

function parseRange(text: string): { address: number; bits: number } {
  const [address = "", bits = "32"] = text.split("/")
  return {
    address: address.split(".").reduce((sum, part) => (sum << 8) | Number(part), 0) >>> 0,
    bits: Number(bits),
  }
}
