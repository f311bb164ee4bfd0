import { existsSync } from "node:fs"
import { joinNetworkNamespace, type NetworkNamespace } from "../../../core/linux/namespace.ts"

/** A pod's network namespace and one of its callers', joined by a cable; both vanish with the processes that hold them. */
export interface Pod {
  /** A process inside, for the agent to work beside. */
  pid: number
  ip4: string
  ip6: string
  /** Runs `make` (synchronous) with this thread in the pod's network, or in the caller's. */
  inPod<T>(make: () => T): T
  inCaller<T>(make: () => T): T
  close(): void
}

/** Why these tests cannot run here; undefined when they can. */
export function whyNoPods(): string | undefined {
  if (process.getuid?.() !== 0) return "network namespaces need root"
  if (!Bun.which("ip") || !Bun.which("unshare")) return "the programs ip and unshare are missing"
  return existsSync("/proc/self/ns/net") ? undefined : "the kernel has no network namespaces"
}

export async function makePod(): Promise<Pod> {
  const holders = [holder(), holder()]
  const namespaces = await Promise.all(holders.map(({ pid }) => joined(pid)))
  const [pod, caller] = namespaces as [NetworkNamespace, NetworkNamespace]
  const podPid = holders[0]!.pid
  caller.run(() => {
    ip("link", "set", "lo", "up")
    ip("link", "add", "cable", "type", "veth", "peer", "name", "eth0", "netns", String(podPid))
    ip("address", "add", "10.77.0.1/24", "dev", "cable")
    ip("-6", "address", "add", "fd77::1/64", "dev", "cable", "nodad")
    ip("link", "set", "cable", "up")
  })
  pod.run(() => {
    ip("link", "set", "lo", "up")
    ip("address", "add", "10.77.0.2/24", "dev", "eth0")
    ip("-6", "address", "add", "fd77::2/64", "dev", "eth0", "nodad")
    ip("link", "set", "eth0", "up")
  })
  return {
    pid: podPid,
    ip4: "10.77.0.2",
    ip6: "fd77::2",
    inPod: (make) => pod.run(make),
    inCaller: (make) => caller.run(make),
    close() {
      for (const namespace of namespaces) namespace.close()
      for (const process of holders) process.kill("SIGKILL")
    },
  }
}

/** Ends with its standard input, so with this process, however that ends. */
function holder() {
  return Bun.spawn(["unshare", "--net", "cat"], { stdio: ["pipe", "ignore", "inherit"] })
}

/** `unshare` needs a moment before it is in its own namespace. */
async function joined(pid: number): Promise<NetworkNamespace> {
  for (let attempt = 0; attempt < 500; attempt++) {
    const namespace = joinNetworkNamespace(pid)
    if (namespace.relation !== "same") return namespace
    await Bun.sleep(10)
  }
  throw new Error("unshare did not make a network namespace")
}

function ip(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...args])
  if (exitCode !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`)
}
