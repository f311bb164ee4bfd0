import { describe, expect, test } from "bun:test"
import {
  anHourAgo,
  basicConstraints,
  dnsNames,
  extendedKeyUsage,
  issueAuthority,
  issueCertificate,
  keyUsage,
} from "../../core/operator/credentials/certificate.ts"
import { newPrivateKey, privateKeyToPem, spkiOf } from "../../core/operator/credentials/keys.ts"
import { toPem } from "../../core/operator/credentials/pem.ts"
import { must, run } from "../cluster/run.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("certificate")
const installed = useOperator(cluster)

const tomorrow = () => new Date(Date.now() + 86_400_000)
const base64 = (text: string) => Buffer.from(text).toString("base64")

/** An authority, and a certificate of it for the operator's service. */
function ownCertificate(namespace: string) {
  const authority = newPrivateKey("ecdsa")
  const key = newPrivateKey("ecdsa")
  const certificate = issueCertificate({
    issuer: { commonName: "somebody's CA", organization: "podside" },
    subject: { commonName: "front" },
    spki: spkiOf(key),
    notBefore: anHourAgo(),
    notAfter: tomorrow(),
    extensions: [
      basicConstraints(false),
      keyUsage("sign-data"),
      extendedKeyUsage("server"),
      dnsNames([`podside-operator.${namespace}.svc`]),
    ],
    signer: authority,
  })
  return {
    caBundle: base64(toPem(issueAuthority(authority, "somebody's CA", tomorrow()), "CERTIFICATE")),
    data: {
      "tls.crt": base64(toPem(certificate, "CERTIFICATE")),
      "tls.key": base64(privateKeyToPem(key)),
    },
  }
}

describe.skipIf(!cluster.available)("a certificate of the cluster's owner", () => {
  test("is what the API server sees and verifies; by another authority's word it serves nobody", async () => {
    const { caBundle, data } = ownCertificate(installed.namespace)
    const metadata = { name: "own-tls", namespace: installed.namespace }
    const secret = { apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls", metadata, data }
    await must(["kubectl", "apply", "-f", "-"], {
      env: { KUBECONFIG: cluster.kubeconfig },
      input: JSON.stringify(secret),
    })
    await installed.change({ tls: { secret: "own-tls", useExistingSecret: true, apiService: { caBundle } } })
    const trust = (bundle: string) =>
      cluster.kubectl(
        ...["patch", "apiservice", "v1.operator.metalbear.co", "--type=merge", "-p"],
        JSON.stringify({ spec: { caBundle: bundle } }),
      )
    expect(await cluster.kubectl("get", "mirrordoperators")).toContain("operator")
    await trust(ownCertificate(installed.namespace).caBundle)
    await cluster.eventually("nobody is served", async () => {
      const { code, stderr } = await cluster.tryKubectl("get", "mirrordoperators")
      return code !== 0 && /unable to handle the request|x509|certificate/.test(stderr)
    })
    const { code, stderr } = await run([process.execPath, "core/main.ts", "operator", "status"], {
      env: { KUBECONFIG: cluster.kubeconfig },
    })
    expect(code).toBe(1)
    expect(stderr).toContain("does not accept its certificate")
    expect(stderr).toContain("spec.caBundle")
    await trust(caBundle)
    await cluster.eventually("it is served again", async () => {
      return (await cluster.tryKubectl("get", "mirrordoperators")).code === 0
    })
  }, 150_000)

  test("may stand among the values; so may a class for agents, and the cluster's name in what is logged", async () => {
    const { caBundle, data } = ownCertificate(installed.namespace)
    const pem = Object.fromEntries(Object.entries(data).map(([name, text]) => [name, atob(text)]))
    const name = `agents-${installed.namespace}`
    await installed.change({
      tls: { secret: "given-tls", data: pem, apiService: { caBundle } },
      agent: { priorityClass: { create: true, name, value: 1_234 } },
      operator: { clusterName: "east" },
    })
    const secret = await cluster.get("secret", "given-tls", "-n", installed.namespace)
    expect([secret.type, secret.data]).toEqual(["kubernetes.io/tls", data])
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
    const exec = ["exec", "--target", "deployment/web", "-n", cluster.namespace, "--", "printenv", "SAMPLE_NAME"]
    expect(await must([process.execPath, "core/main.ts", ...exec], { env: { KUBECONFIG: cluster.kubeconfig } })).toBe(
      "web\n",
    )
    const { items } = await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")
    const [agent] = items
    expect([agent.spec.priorityClassName, agent.spec.priority]).toEqual([name, 1_234])
    const lines = (await installed.logs()).split("\n").filter((line) => line.includes('"session-started"'))
    expect(lines.map((line) => JSON.parse(line).cluster)).toEqual(["east"])
  }, 150_000)
})
