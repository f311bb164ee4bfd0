import { AppError } from "../../core/errors.ts"
import { connect, noClusterReason } from "../cluster/connection.ts"
import { eventually } from "../cluster/eventually.ts"
import { defaultName } from "../cluster/layout.ts"
import { podsideImage } from "../cluster/podside-image.ts"
import { must, run } from "../cluster/run.ts"
import { sampleImage, writeSampleImage } from "../cluster/samples/images.ts"
import { deployment, pod, service } from "../cluster/samples/workloads.ts"
import { podPort, type Stage } from "./stage.ts"

/** The same on a real Kubernetes: a deployment, a service, an agent in a Job of its own. @throws AppError "demo-unavailable" */
export async function openClusterStage(say: (line: string) => void): Promise<Stage> {
  const reason = noClusterReason()
  if (reason !== null)
    throw new AppError("demo-unavailable", `There can be no cluster here: ${reason}`, {
      next: "Run `npm run demo` without --cluster.",
    })
  const connection = await connect(say)
  await connection.importImage(await writeSampleImage(sampleImage))
  await connection.importImage((await podsideImage()).path)
  const namespace = `demo-${crypto.randomUUID().slice(0, 8)}`
  const env = { KUBECONFIG: connection.kubeconfig }
  const kubectl = (...words: string[]) =>
    must(["kubectl", "--namespace", namespace, ...words], { env, timeoutSeconds: 120 })
  const tryKubectl = (...words: string[]) => run(["kubectl", "--namespace", namespace, ...words], { env })
  await kubectl("create", "namespace", namespace)
  const greeting = "hello from the pod"
  const objects = [
    deployment("web", { environment: { GREETING: greeting } }),
    service("web"),
    deployment("backend"),
    service("backend"),
    pod("visitor"),
  ]
  const stop = async () => {
    const { code, stderr } = await run(["kubectl", "delete", "namespace", namespace, "--timeout=110s"], {
      env,
      timeoutSeconds: 120,
    })
    return code === 0 ? [] : [`namespace ${namespace}: ${stderr.trim()}`]
  }
  try {
    await must(["kubectl", "--namespace", namespace, "apply", "-f", "-"], {
      env,
      input: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
    })
    for (const name of ["deployment/web", "deployment/backend"])
      await kubectl("rollout", "status", name, "--timeout=110s")
    await kubectl("wait", "--for=condition=Ready", "pod/visitor", "--timeout=110s")
  } catch (thrown) {
    await stop()
    throw thrown
  }
  return {
    place: "in a real Kubernetes",
    stays: connection.own
      ? `The cluster ${defaultName} runs on; \`npm run cluster -- down --name ${defaultName}\` removes it.`
      : undefined,
    options: ["--target", "deployment/web", "--target-namespace", namespace, "--agent-namespace", namespace],
    env: { ...env, MIRRORD_OPERATOR_ENABLE: "false", MIRRORD_AGENT_IMAGE_PULL_POLICY: "Never" },
    variable: { name: "GREETING", value: greeting },
    file: { path: "/var/run/secrets/kubernetes.io/serviceaccount/namespace", content: namespace },
    async visit(path, headers = {}) {
      const [web] = JSON.parse(await kubectl("get", "pods", "-l", "app=web", "-o", "json")).items
      const lines = [
        `GET ${path} HTTP/1.1`,
        "Host: web",
        "Connection: close",
        ...Object.entries(headers).map((pair) => pair.join(": ")),
      ]
      const request = lines.map((line) => `${line}\\r\\n`).join("")
      const command = `printf '${request}\\r\\n' | nc -w 20 ${web.status.podIP} ${podPort}`
      const answer = await kubectl("exec", "visitor", "--", "sh", "-c", command)
      return answer.slice(answer.indexOf("\r\n\r\n") + 4)
    },
    async stop() {
      const jobs = await eventually(
        { tryKubectl },
        "no agents",
        async () => (await kubectl("get", "jobs", "-o", "name")).trim() === "",
      ).then(
        () => [],
        () => ["an agent's Job"],
      )
      return [...jobs, ...(await stop())]
    },
  }
}
