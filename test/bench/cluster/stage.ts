import { copyFileSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError } from "../../../core/errors.ts"
import { podsideBinary } from "../../binary.ts"
import { connect, noClusterReason } from "../../cluster/connection.ts"
import { type Forwarding, forward } from "../../cluster/forward.ts"
import { podsideImage } from "../../cluster/podside-image.ts"
import { program } from "../../cluster/programs.ts"
import { must, run } from "../../cluster/run.ts"
import { filesImage, sampleImage, writeSampleImage } from "../../cluster/samples/images.ts"
import { deployment, service } from "../../cluster/samples/workloads.ts"

const runSeconds = 120
/** Until a session without an operator has moved to `pods/proxy`, which the API server can do up to a second after the pod's start. */
export const settleSeconds = 2
const settled = ({ operator, transport }: SessionOptions) => operator || transport === "port-forward"

export type Measured = Record<string, number>

/** What is measured against: two deployments on a real cluster, the measuring program, and podside. */
export interface Stage {
  namespace: string
  kubeconfig: string
  /** Address of the pod of the deployment `web`, which is the target, and of `backend`, which it calls. */
  webIp: string
  backendIp: string
  folder: string
  kubectl(...words: string[]): Promise<string>
  /** Runs the measuring program on this machine. */
  load(...words: string[]): Promise<Measured>
  /** Runs the measuring program in a session, once its way to the agent is the one it will keep. */
  loadIn(session: SessionOptions, ...words: string[]): Promise<Measured>
  exec(session: SessionOptions, words: string[], env?: Record<string, string>): string[]
  /** The command line of any other command. */
  podside(session: SessionOptions, ...words: string[]): string[]
  forward(port: number): Promise<Forwarding>
  /** What has to be removed before the stage, however it ends. */
  leftovers: Set<() => Promise<void>>
  close(): Promise<void>
}

export interface SessionOptions {
  operator: boolean
  /** How a session without an operator reaches its agent; default as for anybody. */
  transport?: "auto" | "port-forward"
  /** Path of a configuration file. */
  config?: string
}

/** @throws AppError "no-cluster" */
export async function openStage(say: (line: string) => void): Promise<Stage> {
  const reason = noClusterReason()
  if (reason !== null) throw new AppError("no-cluster", `There can be no cluster here: ${reason}`)
  const connection = await connect(say)
  for (const image of [sampleImage, filesImage]) await connection.importImage(await writeSampleImage(image))
  await connection.importImage((await podsideImage()).path)
  const folder = mkdtempSync(join(tmpdir(), "podside-bench-"))
  const load = join(folder, "load")
  // A copy, so that a build meanwhile does not change what is measured.
  const binary = join(folder, "podside")
  copyFileSync(await podsideBinary(), binary)
  await must(["go", "build", "-o", load, join(import.meta.dir, "load/main.go")], { env: { CGO_ENABLED: "0" } })
  const namespace = `bench-${crypto.randomUUID().slice(0, 8)}`
  const env = { KUBECONFIG: connection.kubeconfig }
  const kubectl = (...words: string[]) => must(["kubectl", "-n", namespace, ...words], { env, timeoutSeconds: 120 })
  const leftovers = new Set<() => Promise<void>>()
  const close = async () => {
    for (const remove of leftovers) await remove()
    await run(["kubectl", "delete", "namespace", namespace, "--wait=false"], { env })
    rmSync(folder, { recursive: true, force: true })
  }
  const podside = ({ operator, transport = "auto" }: SessionOptions, ...words: string[]) => [
    "env",
    `KUBECONFIG=${connection.kubeconfig}`,
    `MIRRORD_OPERATOR_ENABLE=${operator}`,
    `PODSIDE_AGENT_TRANSPORT=${transport}`,
    "MIRRORD_AGENT_IMAGE_PULL_POLICY=Never",
    binary,
    ...words,
  ]
  const exec = (session: SessionOptions, words: string[], more: Record<string, string> = {}) => [
    "env",
    ...Object.entries(more).map((pair) => pair.join("=")),
    ...podside(session, "exec", "--progress", "off", "-t", "deployment/web", "-n", namespace, "-a", namespace),
    ...(session.config === undefined ? [] : ["-f", session.config]),
    "--",
    ...words,
  ]
  try {
    await must(["kubectl", "create", "namespace", namespace], { env })
    const items = [deployment("web", { image: filesImage.reference }), deployment("backend"), service("backend")]
    const input = JSON.stringify({ apiVersion: "v1", kind: "List", items })
    await must(["kubectl", "-n", namespace, "apply", "-f", "-"], { env, input })
    for (const name of ["web", "backend"]) await kubectl("rollout", "status", `deployment/${name}`, "--timeout=90s")
    const ipOf = (name: string) =>
      kubectl("get", "pods", "-l", `app=${name}`, "-o", "jsonpath={.items[0].status.podIP}")
    return {
      namespace,
      kubeconfig: connection.kubeconfig,
      webIp: await ipOf("web"),
      backendIp: await ipOf("backend"),
      folder,
      kubectl,
      exec,
      podside,
      leftovers,
      close,
      load: async (...words) => JSON.parse(await must([load, ...words], { timeoutSeconds: runSeconds })),
      loadIn: async (session, ...words) => {
        const later = settled(session) ? [] : ["sh", "-c", `sleep ${settleSeconds}; exec "$@"`, "sh"]
        return JSON.parse(
          await must(exec(session, [...later, load, ...words]), { cwd: "/", timeoutSeconds: runSeconds }),
        )
      },
      forward: (port) => forward(connection.kubeconfig, namespace, "deployment/backend", port),
    }
  } catch (thrown) {
    await close()
    throw thrown
  }
}

/** The sample server of the measuring machine, for stolen traffic. */
export const localServer = () => program("sample")
