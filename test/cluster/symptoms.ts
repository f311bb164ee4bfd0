/** What a component's log says when the machine is at fault, and what helps. */
const symptoms: [RegExp, string][] = [
  [
    /address already in use/i,
    "End the program that uses the port inside the cluster's network (ss -ltnp there shows it), then run up again.",
  ],
  [/no space left on device/i, "Free disk space, or set XDG_CACHE_HOME to a folder on another disk."],
  [/operation not permitted|permission denied/i, "Run as root with all capabilities (in a container: --privileged)."],
  [/too many open files/i, "Raise the limit of open files and of inotify instances (fs.inotify.max_user_instances)."],
  [
    /nf_tables|nftables|iptables.*(failed|not found)/i,
    "Use a kernel with nf_tables, connection tracking and NAT (CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NF_CONNTRACK).",
  ],
  [
    /cgroup/i,
    "Mount the control groups below /sys/fs/cgroup with write access (in a container: --privileged --cgroupns=host).",
  ],
]

/** One imperative sentence for the end of a component's log. */
export function nextStepFor(log: string, path: string): string {
  const end = log.split("\n").slice(-40).join("\n")
  return symptoms.find(([pattern]) => pattern.test(end))?.[1] ?? `Read ${path}.`
}
