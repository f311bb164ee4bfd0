import { beforeAll, describe, expect, test } from "bun:test"
import { connect } from "node:tls"
import { useCertManager } from "../cluster/certificates.ts"
import { forward } from "../cluster/forward.ts"
import { must, run } from "../cluster/run.ts"
import { deployment } from "../cluster/samples/workloads.ts"
import { useCluster } from "../cluster/use.ts"
import { group, newSessionId, operatorClient, reader } from "./operator/client.ts"
import { useOperator } from "./operator/install.ts"

const cluster = useCluster("cert-manager")
useCertManager(cluster)
const installed = useOperator(cluster, { tls: { certManager: { enabled: true } } })

const limitMs = 150_000
const certificate = "certificates.cert-manager.io/podside-operator"
const text = (base64: string) => Buffer.from(base64, "base64").toString()

describe.skipIf(!cluster.available)("with cert-manager", () => {
  beforeAll(async () => {
    await cluster.apply(deployment("web"))
    await cluster.ready("deployment/web")
  }, limitMs)

  const get = (...args: string[]) => cluster.get("-n", installed.namespace, ...args)
  const kubectl = (...args: string[]) => cluster.kubectl("-n", installed.namespace, ...args)
  const secret = async (name: string): Promise<Record<string, string> | undefined> =>
    (await get("secrets", "--field-selector", `metadata.name=${name}`)).items[0]?.data
  const trusted = async () => text((await cluster.get("apiservice", "v1.operator.metalbear.co")).spec.caBundle ?? "")
  const pods = async () => (await get("pods", "-l", "app.kubernetes.io/name=podside-operator")).items
  const podsideWith = (env: Record<string, string>, ...args: string[]) =>
    run([process.execPath, "core/main.ts", ...args], {
      env: { KUBECONFIG: cluster.kubeconfig, ...env },
      timeoutSeconds: 60,
    })
  const podside = (...args: string[]) => podsideWith({ MIRRORD_OPERATOR_ENABLE: "true" }, ...args)

  const askWeb = () => ["exec", "-t", "deployment/web", "-n", cluster.namespace, "--", "printenv", "SAMPLE_NAME"]

  /** A new Secret is in the pods when the kubelet looks at them: within a minute and a half, or when something of them changes. */
  const nudgeKubelet = () =>
    kubectl("annotate", "pods", "-l", "app.kubernetes.io/name=podside-operator", "--overwrite", `seen=${Date.now()}`)

  /** What the operator shows to those who trust `ca`. @throws when it is not verified */
  const served = async (ca: string) => {
    await using forwarding = await forward(cluster.kubeconfig, installed.namespace, "deployment/podside-operator", 8443)
    const servername = `podside-operator.${installed.namespace}.svc`
    return await new Promise<string>((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port: forwarding.port, servername, ca }, () => {
        resolve(socket.getPeerCertificate().serialNumber)
        socket.destroy()
      })
      socket.once("error", reject)
    })
  }

  const openSession = async () => {
    const client = operatorClient(cluster.kubeconfig)
    const target = { namespace: cluster.namespace, target: "deployment.web", sessionId: newSessionId() }
    const link = await client.connect(target)
    const read = reader(link)
    link.send({ kind: "SwitchProtocolVersion", value: "1.29.0" })
    await read.nextOf("SwitchProtocolVersionResponse")
    return {
      answers: async () => {
        link.send({ kind: "Ping" })
        return (await read.nextOf("Pong", 5_000)).kind === "Pong"
      },
      close: () => link.close(),
    }
  }

  /** Asks the API again and again; ends with what went wrong meanwhile. */
  const watchApi = () => {
    const failures: string[] = []
    let isOver = false
    let asked = 0
    const watching = (async () => {
      while (!isOver) {
        const { code, stderr } = await cluster.tryKubectl("get", "--raw", `${group}/mirrordoperators/operator`)
        asked++
        if (code !== 0) failures.push(stderr.trim())
        await Bun.sleep(200)
      }
    })()
    return async () => {
      isOver = true
      await watching
      return { asked, failures }
    }
  }

  const issuedAnew = async (name: string, cause: () => Promise<unknown>) => {
    const before = (await secret(name))?.["tls.crt"]
    await cause()
    await cluster.eventually(`a new ${name}`, async () => {
      const now = (await secret(name))?.["tls.crt"]
      return now !== undefined && now !== before
    })
  }
  const removed = (name: string) => issuedAnew(name, () => kubectl("delete", "secret", name))
  /** As its time comes; what `cmctl renew` does. */
  const renewed = (certificate: string, name: string) =>
    issuedAnew(name, async () => {
      const due = { type: "Issuing", status: "True", reason: "ManuallyTriggered", message: "its time has come" }
      const path = ["certificates.cert-manager.io", certificate]
      const { conditions } = (await get(...path)).status
      const status = { conditions: [...conditions, { ...due, lastTransitionTime: new Date().toISOString() }] }
      await kubectl("patch", ...path, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status }))
    })

  const servesTheNew = async (former: string) => {
    await nudgeKubelet()
    const ca = await trusted()
    await cluster.eventually("the new certificate", async () => (await served(ca)) !== former)
  }

  test(
    "the certificate is issued, its CA injected, and the API verified by it",
    async () => {
      const { conditions } = (await get(certificate)).status
      expect(conditions).toContainEqual(expect.objectContaining({ type: "Ready", status: "True" }))
      const ca = await trusted()
      expect(ca).toBe(text((await secret("podside-operator-ca"))?.["tls.crt"] ?? ""))
      const { spec } = await cluster.get("apiservice", "v1.operator.metalbear.co")
      expect(spec.insecureSkipTLSVerify).toBeUndefined()
      expect(await served(ca)).toMatch(/^[0-9A-F]+$/)
      expect(JSON.parse(await cluster.kubectl("get", "--raw", group)).kind).toBe("APIResourceList")
      expect(await podside(...askWeb())).toMatchObject({ code: 0, stdout: "web\n" })
    },
    limitMs,
  )

  test(
    "a renewed certificate, of a renewed CA, is served without a restart, a request that fails, or an end of sessions",
    async () => {
      const before = await pods()
      const former = await served(await trusted())
      const session = await openSession()
      const formerCa = await trusted()
      const stop = watchApi()
      await renewed("podside-operator-ca", "podside-operator-ca")
      await renewed("podside-operator", "podside-operator-tls")
      await cluster.eventually("the renewed CA", async () => (await trusted()) !== formerCa)
      await servesTheNew(former)
      const { asked, failures } = await stop()
      expect(failures).toEqual([])
      expect(asked).toBeGreaterThan(2)
      expect(await session.answers()).toBe(true)
      session.close()
      const after = await pods()
      expect(after.map((pod: { metadata: object }) => pod.metadata)).toMatchObject(
        before.map((pod: { metadata: { uid: string } }) => ({ uid: pod.metadata.uid })),
      )
      expect(after[0].status.containerStatuses[0].restartCount).toBe(0)
    },
    limitMs,
  )

  test(
    "with another CA the API comes back by itself, and sessions stay",
    async () => {
      const former = await served(await trusted())
      const formerCa = await trusted()
      const session = await openSession()
      await removed("podside-operator-ca")
      await removed("podside-operator-tls")
      await cluster.eventually("the new CA", async () => (await trusted()) !== formerCa)
      await servesTheNew(former)
      await cluster.eventually("the API", async () => (await cluster.tryKubectl("get", "mirrordoperators")).code === 0)
      expect(await session.answers()).toBe(true)
      session.close()
      expect((await pods())[0].status.containerStatuses[0].restartCount).toBe(0)
    },
    limitMs,
  )

  test(
    "without its issuer people are told why there is no operator; with it there is one",
    async () => {
      const secretName = "never-issued"
      // The former pod would go on serving.
      await kubectl("delete", "deployment", "podside-operator")
      await installed.apply({
        tls: { secret: secretName, certManager: { enabled: true, createIssuer: false, issuer: "nobody" } },
      })
      await cluster.eventually(
        "the operator is out of service",
        async () => (await podside("operator", "status")).code === 1,
      )
      const why = `cert-manager has not issued the Certificate "podside-operator" in ${installed.namespace}: `
      const notFound = 'Referenced "Issuer" not found: issuer.cert-manager.io "nobody" not found'
      const status = await cluster.eventually("its reason", async () => {
        const { stderr } = await podside("operator", "status")
        return stderr.includes(notFound) && stderr
      })
      expect(status).toContain(`The cluster's operator is out of service: ${why}${notFound} [operator-out-of-service]`)
      expect(status).toContain("values tls.certManager")
      const doctor = await podside("doctor")
      expect(doctor.code).toBe(1)
      expect(doctor.stdout).toContain(
        `x operator: The cluster's operator is out of service: ${why}${notFound}\n    Correct`,
      )
      expect((await podside(...askWeb())).stderr).toContain(notFound)
      const unasked = await podsideWith({}, ...askWeb())
      expect(unasked).toMatchObject({ code: 0, stdout: "web\n" })
      expect(unasked.stderr).toContain(`the cluster's operator is out of service, and done without: ${why}${notFound}`)

      const metadata = { name: "nobody", namespace: installed.namespace }
      const spec = { ca: { secretName: "podside-operator-ca" } }
      await must(["kubectl", "create", "--validate=ignore", "-f", "-"], {
        env: { KUBECONFIG: cluster.kubeconfig },
        input: JSON.stringify({ apiVersion: "cert-manager.io/v1", kind: "Issuer", metadata, spec }),
      })
      await cluster.eventually("its certificate", () => secret(secretName))
      // The kubelet waits longer from try to try; it tries at once for a pod it does not know.
      await kubectl("delete", "pods", "-l", "app.kubernetes.io/name=podside-operator", "--wait=false")
      await cluster.eventually("the operator", async () => (await podside("operator", "status")).code === 0)
      expect((await podside("doctor")).stdout).toContain("✓ operator: version")
    },
    limitMs,
  )
})
