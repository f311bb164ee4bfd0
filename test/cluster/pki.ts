import { existsSync, mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Layout } from "./layout.ts"
import { must } from "./run.ts"

const days = "30"
const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

/** Makes the authorities, keys and certificates of a cluster in its `pki` folder, once. */
export async function makeCertificates(layout: Layout): Promise<void> {
  const folder = join(layout.folder, "pki")
  if (existsSync(join(folder, "complete"))) return
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const openssl = (...args: string[]) => must(["openssl", ...args], { cwd: folder })
  const authority = (name: string, subject: string) =>
    openssl("req", "-x509", ...newKey, "-days", days, "-keyout", `${name}.key`, "-out", `${name}.crt`, "-subj", subject)

  await Promise.all([
    authority("ca", "/CN=cluster-ca"),
    authority("front-proxy-ca", "/CN=front-proxy-ca"),
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-account.key"),
  ])
  await openssl("ec", "-in", "service-account.key", "-pubout", "-out", "service-account.pub")

  const certificate = async (name: string, subject: string, signer: string, alternatives?: string) => {
    const usage = "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:FALSE\n"
    await Bun.write(join(folder, `${name}.ext`), alternatives ? `${usage}subjectAltName=${alternatives}\n` : usage)
    await openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject)
    await openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-out", `${name}.crt`, "-days", days, "-extfile", `${name}.ext`],
      ...["-CA", `${signer}.crt`, "-CAkey", `${signer}.key`, "-set_serial", `0x${serial()}`],
    )
  }
  const names = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
  ]
  const addresses = ["127.0.0.1", layout.apiServiceAddress, layout.nodeAddress]
  const nodeAddresses = [layout.nodeAddress, ...(layout.v6 ? [layout.v6.nodeAddress] : [])]
  await Promise.all([
    certificate("apiserver", "/CN=kube-apiserver", "ca", alternativeNames(names, addresses)),
    certificate(
      "kubelet",
      `/O=system:nodes/CN=system:node:${layout.node}`,
      "ca",
      alternativeNames([layout.node], nodeAddresses),
    ),
    certificate("apiserver-to-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", "ca"),
    certificate("front-proxy", "/CN=front-proxy-client", "front-proxy-ca"),
    certificate("admin", "/O=system:masters/CN=admin", "ca"),
    certificate("controller-manager", "/CN=system:kube-controller-manager", "ca"),
    certificate("scheduler", "/CN=system:kube-scheduler", "ca"),
    certificate("proxy", "/CN=system:kube-proxy", "ca"),
    certificate("dns", "/O=system:masters/CN=coredns", "ca"),
  ])
  await Bun.write(join(folder, "complete"), "")
}

function alternativeNames(names: string[], addresses: string[]): string {
  return [...names.map((name) => `DNS:${name}`), ...addresses.map((address) => `IP:${address}`)].join(",")
}

function serial(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex")
}

/** What a kubeconfig file can say about a user. */
export type Credentials = { certificate: string; key: string } | { token: string }

/** How a kubeconfig file names its API server. */
export interface ServerAddress {
  server: string
  /** Base64 of PEM; absent where the machine's own authorities vouch for the server. */
  "certificate-authority-data"?: string
}

/** A kubeconfig file's text (JSON, which is YAML, too) with one cluster, one user and everything inside. */
export function kubeconfigText(cluster: ServerAddress, user: string, credentials: Credentials): string {
  const base64 = (text: string) => Buffer.from(text).toString("base64")
  const identity =
    "token" in credentials
      ? { token: credentials.token }
      : { "client-certificate-data": base64(credentials.certificate), "client-key-data": base64(credentials.key) }
  return JSON.stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "cluster", cluster }],
      users: [{ name: user, user: identity }],
      contexts: [{ name: "cluster", context: { cluster: "cluster", user } }],
      "current-context": "cluster",
    },
    null,
    2,
  )
}

/** The server of a kubeconfig file's current context. */
export async function serverOf(kubeconfig: string): Promise<ServerAddress> {
  const view = ["kubectl", "config", "view", "--raw", "--minify", "--flatten", "-o", "json"]
  return JSON.parse(await must(view, { env: { KUBECONFIG: kubeconfig } })).clusters[0].cluster
}

/** Writes `NAME.kubeconfig` for each of the cluster's own users. */
export async function writeKubeconfigs(layout: Layout): Promise<void> {
  const read = (name: string) => Bun.file(join(layout.folder, "pki", name)).text()
  const cluster = {
    server: `https://${layout.nodeAddress}:6443`,
    "certificate-authority-data": Buffer.from(await read("ca.crt")).toString("base64"),
  }
  for (const name of ["admin", "kubelet", "controller-manager", "scheduler", "proxy", "dns"]) {
    const credentials = { certificate: await read(`${name}.crt`), key: await read(`${name}.key`) }
    await Bun.write(join(layout.folder, `${name}.kubeconfig`), kubeconfigText(cluster, name, credentials), {
      mode: 0o600,
    })
  }
}
