import { beforeAll, describe, expect, test } from "bun:test"
import { version } from "../../package.json"
import { useCluster } from "../cluster/use.ts"

/* A real container runtime takes the image, and Kubernetes runs its parts as the manifests will. */

const cluster = useCluster("image")

describe.skipIf(!cluster.available)("in a cluster the image", () => {
  let image: string
  beforeAll(async () => {
    image = await cluster.importPodsideImage()
  }, 300_000)

  /** Starts a pod of one container and gives its log once that contains `wanted`. */
  async function logOf(name: string, container: object, wanted: RegExp): Promise<string> {
    await cluster.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: { restartPolicy: "Never", containers: [{ name: "main", image, imagePullPolicy: "Never", ...container }] },
    })
    return cluster.eventually(`${wanted} in the log of ${name}`, async () => {
      const { stdout } = await cluster.tryKubectl("logs", name)
      return wanted.test(stdout) ? stdout : undefined
    })
  }

  test("runs without root, capabilities or a writable file system", async () => {
    const securityContext = {
      runAsNonRoot: true,
      runAsUser: 65532,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    }
    expect(await logOf("version", { args: ["--version"], securityContext }, /podside/)).toBe(`podside ${version}\n`)
  }, 120_000)

  test("is the agent when it is started as ./mirrord-agent", async () => {
    const command = ["./mirrord-agent", "--communicate-port", "61337", "--communication-timeout", "30", "targetless"]
    const log = await logOf("agent", { command }, /agent ready/)
    expect(log).toMatch(/^agent ready( - version \S+)?$/m)
  }, 120_000)
})
