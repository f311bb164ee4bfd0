import { join } from "node:path"
import { AppError } from "../../../core/errors.ts"
import { readLines } from "../../../core/kube/lines.ts"
import { anHourAgo, issueCertificate } from "../../../core/operator/credentials/certificate.ts"
import { newPrivateKey, privateKeyToPem, spkiOf } from "../../../core/operator/credentials/keys.ts"
import { toPem } from "../../../core/operator/credentials/pem.ts"
import type { Stage } from "./stage.ts"

const folder = join(import.meta.dir, "relays")
const secret = "bare-relays"
/** As the relays have them. */
const ports = { operator: 7443, agent: 7444 }
const hourMs = 3600 * 1000

/**
 * A port on the loopback that leads to the backend's by as many hops as a session through an operator has: relays of a few lines that only
 * pass bytes on, where the client, the operator and the agent are, with the API server and TLS between them. On the same runtime no session
 * can be faster.
 */
export async function relay(stage: Stage, backendPort: number): Promise<AsyncDisposable & { port: number }> {
  await startRelays(stage, backendPort)
  const path = `/api/v1/namespaces/${stage.namespace}/pods/https:relay-operator:${ports.operator}/proxy/`
  const client = Bun.spawn([process.execPath, join(folder, "client.ts"), stage.kubeconfig, path], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  })
  const close = async () => {
    client.kill()
    await client.exited
  }
  const { value: port } = await readLines(client.stdout).next()
  if (port !== undefined) return { port: Number(port), [Symbol.asyncDispose]: close }
  await close()
  throw new AppError("bench-failed", "A relay to compare with did not start")
}

/** Once for a stage: pods are found again. */
async function startRelays(stage: Stage, backendPort: number): Promise<void> {
  if (await stage.kubectl("get", "secret", secret, "--ignore-not-found", "-o", "name")) return
  const key = newPrivateKey("ecdsa")
  const name = { commonName: "relay" }
  const certificate = issueCertificate({
    issuer: name,
    subject: name,
    spki: spkiOf(key),
    notBefore: anHourAgo(),
    notAfter: new Date(Date.now() + hourMs),
    extensions: [],
    signer: key,
  })
  await Bun.write(join(stage.folder, "key.pem"), privateKeyToPem(key))
  await Bun.write(join(stage.folder, "cert.pem"), toPem(certificate, "CERTIFICATE"))
  const scripts = ["operator.ts", "agent.ts"].map((name) => join(folder, name))
  const files = [...scripts, ...["key.pem", "cert.pem"].map((name) => join(stage.folder, name))]
  await stage.kubectl("create", "secret", "generic", secret, ...files.map((file) => `--from-file=${file}`))
  await startRelay(stage, "agent", `${stage.backendIp}:${backendPort}`)
  const agentIp = await stage.kubectl("get", "pod", "relay-agent", "-o", "jsonpath={.status.podIP}")
  await startRelay(stage, "operator", `${agentIp}:${ports.agent}`)
}

async function startRelay(stage: Stage, role: keyof typeof ports, to: string): Promise<void> {
  const container = {
    name: "relay",
    image: "podside:dev",
    imagePullPolicy: "Never",
    command: ["/podside", "run", `/relays/${role}.ts`],
    // The executable is Bun as well.
    env: Object.entries({ BUN_BE_BUN: "1", HOME: "/tmp", RELAY_TO: to }).map(([name, value]) => ({ name, value })),
    volumeMounts: [{ name: "relays", mountPath: "/relays" }],
    readinessProbe: { tcpSocket: { port: ports[role] }, periodSeconds: 1 },
  }
  const spec = { containers: [container], volumes: [{ name: "relays", secret: { secretName: secret } }] }
  const file = join(stage.folder, `relay-${role}.json`)
  await Bun.write(file, JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: `relay-${role}` }, spec }))
  await stage.kubectl("apply", "-f", file)
  await stage.kubectl("wait", `pod/relay-${role}`, "--for=condition=Ready", "--timeout=60s")
}
