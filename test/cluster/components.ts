import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Layout } from "./layout.ts"

/** Paths below /mnt are those the cluster's processes see; see sandbox.ts. */
export interface Component {
  name: string
  command: string[]
  /** Started only when the API server answers. */
  waitsForApi: boolean
}

const flags = (values: Record<string, string | number | boolean>) =>
  Object.entries(values).map(([name, value]) => `--${name}=${value}`)

/** Every process of a cluster, in the order of their start. */
export function componentsOf(layout: Layout): Component[] {
  const { v6 } = layout
  const both = (v4: string, second: string | undefined) => (second ? `${v4},${second}` : v4)
  const serviceRanges = both(layout.serviceRange, v6?.serviceRange)
  const podRanges = both(layout.podRange, v6?.podRange)
  const control = (name: string) =>
    flags({
      kubeconfig: `/mnt/${name}.kubeconfig`,
      "authentication-kubeconfig": `/mnt/${name}.kubeconfig`,
      "authorization-kubeconfig": `/mnt/${name}.kubeconfig`,
      "bind-address": "127.0.0.1",
      "leader-elect": false,
    })
  return [
    {
      name: "etcd",
      waitsForApi: false,
      command: [
        "etcd",
        "--unsafe-no-fsync",
        ...flags({
          "data-dir": "/mnt/etcd",
          "listen-client-urls": "http://127.0.0.1:2379",
          "advertise-client-urls": "http://127.0.0.1:2379",
          "listen-peer-urls": "http://127.0.0.1:2380",
        }),
      ],
    },
    { name: "containerd", waitsForApi: false, command: ["containerd", "--config", "/mnt/config/containerd.toml"] },
    {
      name: "kube-apiserver",
      waitsForApi: false,
      command: [
        "/mnt/bin/kube-apiserver",
        ...flags({
          "etcd-servers": "http://127.0.0.1:2379",
          "service-cluster-ip-range": serviceRanges,
          "secure-port": 6443,
          "bind-address": "0.0.0.0",
          "advertise-address": layout.nodeAddress,
          "tls-cert-file": "/mnt/pki/apiserver.crt",
          "tls-private-key-file": "/mnt/pki/apiserver.key",
          "client-ca-file": "/mnt/pki/ca.crt",
          "service-account-key-file": "/mnt/pki/service-account.pub",
          "service-account-signing-key-file": "/mnt/pki/service-account.key",
          "service-account-issuer": "https://kubernetes.default.svc",
          "authorization-mode": "Node,RBAC",
          "enable-admission-plugins": "NodeRestriction",
          "allow-privileged": true,
          "kubelet-client-certificate": "/mnt/pki/apiserver-to-kubelet.crt",
          "kubelet-client-key": "/mnt/pki/apiserver-to-kubelet.key",
          "kubelet-certificate-authority": "/mnt/pki/ca.crt",
          "kubelet-preferred-address-types": "InternalIP",
          "requestheader-client-ca-file": "/mnt/pki/front-proxy-ca.crt",
          "requestheader-allowed-names": "front-proxy-client",
          "requestheader-username-headers": "X-Remote-User",
          "requestheader-group-headers": "X-Remote-Group",
          "requestheader-extra-headers-prefix": "X-Remote-Extra-",
          "proxy-client-cert-file": "/mnt/pki/front-proxy.crt",
          "proxy-client-key-file": "/mnt/pki/front-proxy.key",
          "enable-aggregator-routing": true,
          "audit-policy-file": "/mnt/config/audit-policy.json",
          "audit-log-path": "/mnt/logs/audit.log",
          "audit-log-maxsize": 50,
          "audit-log-maxbackup": 1,
        }),
      ],
    },
    {
      name: "kube-controller-manager",
      waitsForApi: true,
      command: [
        "/mnt/bin/kube-controller-manager",
        ...control("controller-manager"),
        ...flags({
          "service-account-private-key-file": "/mnt/pki/service-account.key",
          "root-ca-file": "/mnt/pki/ca.crt",
          "use-service-account-credentials": true,
          "cluster-signing-cert-file": "/mnt/pki/ca.crt",
          "cluster-signing-key-file": "/mnt/pki/ca.key",
        }),
      ],
    },
    { name: "kube-scheduler", waitsForApi: true, command: ["/mnt/bin/kube-scheduler", ...control("scheduler")] },
    {
      name: "kubelet",
      waitsForApi: true,
      command: [
        "/mnt/bin/kubelet",
        ...flags({
          config: "/mnt/config/kubelet.json",
          kubeconfig: "/mnt/kubelet.kubeconfig",
          "hostname-override": layout.node,
          "node-ip": both(layout.nodeAddress, v6?.nodeAddress),
        }),
      ],
    },
    {
      name: "kube-proxy",
      waitsForApi: true,
      command: [
        "/mnt/bin/kube-proxy",
        ...flags({
          kubeconfig: "/mnt/proxy.kubeconfig",
          "proxy-mode": "nftables",
          "cluster-cidr": podRanges,
          "hostname-override": layout.node,
          // 0 leaves the kernel's connection tracking settings alone: they are not ours to write.
          "conntrack-max-per-core": 0,
          "conntrack-tcp-timeout-established": "0s",
          "conntrack-tcp-timeout-close-wait": "0s",
        }),
      ],
    },
    { name: "coredns", waitsForApi: true, command: ["/mnt/bin/coredns", "-conf", "/mnt/config/Corefile"] },
  ]
}

export const pauseImage = "podside.test/pause:1"

/** Writes the files the components read. `snapshotter`: `overlayfs`, or `native` where the disk cannot carry an overlay. */
export async function writeConfiguration(layout: Layout, snapshotter: string): Promise<void> {
  const folder = join(layout.folder, "config")
  mkdirSync(folder, { recursive: true })
  const json = (value: unknown) => JSON.stringify(value, null, 2)
  const files: Record<string, string> = {
    "kubelet.json": json(kubeletConfiguration(layout)),
    "audit-policy.json": json({ apiVersion: "audit.k8s.io/v1", kind: "Policy", rules: [{ level: "Metadata" }] }),
    "containerd.toml": containerdConfiguration(snapshotter),
    Corefile: corefile(layout),
    // An empty root: names outside the cluster do not exist, said with authority and at once.
    "root.zone": ". 60 IN SOA ns.podside.test. nobody.podside.test. 1 60 60 60 5\n. 60 IN NS ns.podside.test.\n",
    "resolv.conf": "",
  }
  for (const [name, text] of Object.entries(files)) await Bun.write(join(folder, name), text)
  await Bun.write(join(layout.folder, "cni", "10-pods.conflist"), json(podNetwork(layout)))
}

function kubeletConfiguration(layout: Layout): unknown {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: "/mnt/pki/ca.crt" },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: "/mnt/pki/kubelet.crt",
    tlsPrivateKeyFile: "/mnt/pki/kubelet.key",
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    clusterDNS: [layout.nodeAddress],
    clusterDomain: "cluster.local",
    resolvConf: "/mnt/config/resolv.conf",
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${layout.controlGroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    maxPods: 250,
    // Images come from the tests alone and cannot be fetched again: they must never be collected.
    imageGCHighThresholdPercent: 100,
    // A disk that is full for a moment must not cost the tests their pods and images: 0% turns that off.
    evictionHard: {
      "memory.available": "50Mi",
      ...Object.fromEntries(
        ["nodefs", "imagefs"].flatMap((disk) =>
          [`${disk}.available`, `${disk}.inodesFree`].map((signal) => [signal, "0%"]),
        ),
      ),
    },
    evictionPressureTransitionPeriod: "10s",
  }
}

function containerdConfiguration(snapshotter: string): string {
  return `version = 2
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE a negative score would fail every sandbox.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${snapshotter}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/mnt/cni"
`
}

function corefile(layout: Layout): string {
  const zones = ["cluster.local", "podside.test", "in-addr.arpa", "ip6.arpa"].map((zone) => `${zone}:53`).join(" ")
  return `${zones} {
  bind ${layout.nodeAddress}
  errors
  ready ${layout.nodeAddress}:8181
  hosts {
    ${layout.hostAddress} host.podside.test
    fallthrough
  }
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig /mnt/dns.kubeconfig cluster
    pods insecure
  }
}
.:53 {
  bind ${layout.nodeAddress}
  file /mnt/config/root.zone .
}
`
}

/** Point-to-point links: pods reach each other through the node's routing, so services work without br_netfilter. */
function podNetwork(layout: Layout): unknown {
  const routes = [{ dst: "0.0.0.0/0" }, ...(layout.v6 ? [{ dst: "::/0" }] : [])]
  const ranges = [layout.podRange, ...(layout.v6 ? [layout.v6.podRange] : [])].map((subnet) => [{ subnet }])
  return {
    cniVersion: "0.4.0",
    name: "pods",
    plugins: [
      { type: "ptp", ipMasq: false, ipam: { type: "host-local", ranges, routes, dataDir: "/run/pod-addresses" } },
    ],
  }
}
