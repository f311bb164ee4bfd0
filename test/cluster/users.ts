import { createHash } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import { kubeconfigText, serverOf } from "./pki.ts"
import { must } from "./run.ts"

const signSeconds = 60

/**
 * A kubeconfig file for a person with a client certificate, signed through the cluster's own certificate API, so that it
 * works on any cluster. Made once per user and groups, kept in `folder`.
 * @param admin kubeconfig file of somebody who may approve certificates
 */
export async function userKubeconfig(admin: string, folder: string, user: string, groups: string[]): Promise<string> {
  if (user === "" || [user, ...groups].some((part) => /[/\n"=,+]/.test(part))) {
    throw new AppError("bad-user", `"${user}" with groups [${groups.join(", ")}] cannot stand in a certificate`, {
      next: "Leave out / = , + and quotes.",
      exitCode: 2,
    })
  }
  const id = createHash("sha256")
    .update(JSON.stringify([user, groups]))
    .digest("hex")
    .slice(0, 10)
  const label = `${user
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 30)}-${id}`.replace(/^-/, "")
  const file = join(folder, `${label}.kubeconfig`)
  if (existsSync(file)) return file
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const work = mkdtempSync(join(folder, ".new-"))
  const request = `${label}-${crypto.randomUUID().slice(0, 8)}`
  const kubectl = (args: string[], input?: string) => must(["kubectl", "--kubeconfig", admin, ...args], { input })
  try {
    const subject = `${groups.map((group) => `/O=${group}`).join("")}/CN=${user}`
    await must(
      [
        "openssl",
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key",
        "-out",
        "csr",
        "-subj",
        subject,
      ],
      { cwd: work },
    )
    const key = await Bun.file(join(work, "key")).text()
    const csr = await Bun.file(join(work, "csr")).text()
    const spec = {
      request: Buffer.from(csr).toString("base64"),
      signerName: "kubernetes.io/kube-apiserver-client",
      usages: ["client auth"],
    }
    const object = {
      apiVersion: "certificates.k8s.io/v1",
      kind: "CertificateSigningRequest",
      metadata: { name: request },
      spec,
    }
    await kubectl(["create", "-f", "-"], JSON.stringify(object))
    await kubectl(["certificate", "approve", request])
    const certificate = Buffer.from(await signed(kubectl, request), "base64").toString()
    await Bun.write(join(work, "kubeconfig"), kubeconfigText(await serverOf(admin), user, { certificate, key }))
    chmodSync(join(work, "kubeconfig"), 0o600)
    renameSync(join(work, "kubeconfig"), file)
    return file
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function signed(kubectl: (args: string[]) => Promise<string>, request: string): Promise<string> {
  for (const deadline = Date.now() + signSeconds * 1000; Date.now() < deadline; await Bun.sleep(100)) {
    const certificate = await kubectl(["get", "csr", request, "-o", "jsonpath={.status.certificate}"])
    if (certificate !== "") return certificate
  }
  throw new AppError("not-signed", `The cluster did not sign ${request} within ${signSeconds} s`, {
    next: "Look at its controller manager: npm run cluster -- logs kube-controller-manager.",
  })
}
