import { beforeAll, describe, expect, test } from "bun:test"
import { container, deployment, pod, samplePorts, service, twoContainerPod } from "./samples/workloads.ts"
import { useCluster } from "./use.ts"

const cluster = useCluster("cluster")

describe.skipIf(!cluster.available)("the tests' cluster", () => {
  beforeAll(async () => {
    await cluster.apply([deployment("web"), service("web"), pod("client"), twoContainerPod("two")])
    for (const target of ["deployment/web", "pod/client", "pod/two"]) await cluster.ready(target)
  }, 120_000)

  const inClient = (...command: string[]) => cluster.kubectl("exec", "client", "--", ...command)
  const host = () => `web.${cluster.namespace}.svc.cluster.local`

  test("a pod reaches a service by its short and its full name", async () => {
    for (const name of ["web", host()]) {
      const answer = await cluster.eventually(name, () => inClient("sample", "get", `http://${name}:8080/hello`))
      expect(JSON.parse(answer)).toMatchObject({ name: "web", method: "GET", path: "/hello" })
    }
  })

  test("TCP and UDP go through the service, too", async () => {
    const [, tcp, udp] = samplePorts
    expect(await inClient("sample", "tcp", `web:${tcp!.port}`, "over tcp")).toBe("over tcp")
    expect(await inClient("sample", "udp", `web:${udp!.port}`, "over udp")).toBe("over udp")
  })

  test("a pod reaches itself through its own service", async () => {
    const answer = await cluster.kubectl("exec", "deployment/web", "--", "sample", "get", "http://web:8080/")
    expect(JSON.parse(answer).name).toBe("web")
  })

  test("a name nobody has does not resolve", async () => {
    const result = await cluster.tryKubectl("exec", "client", "--", "sample", "resolve", "nobody")
    expect(result.code).not.toBe(0)
    expect(result.stderr).toContain("no such host")
  })

  test("exec passes standard input and the exit code", async () => {
    const result = await cluster.tryKubectl("exec", "client", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    expect(result).toMatchObject({ code: 7, stdout: "out\n" })
    expect(result.stderr).toStartWith("err\n")
  })

  test("both containers of a pod answer, each on its port", async () => {
    const address = (await cluster.get("pod", "two")).status.podIP
    const names = [8080, 8081].map(
      async (port) => JSON.parse(await inClient("sample", "get", `http://${address}:${port}/`)).name,
    )
    expect(await Promise.all(names)).toEqual(["two", "side"])
  })

  test("port-forward reaches the pod, and no port where nothing listens", async () => {
    await using forwarding = await cluster.forward("pod/client", 8080)
    const response = await fetch(`http://127.0.0.1:${forwarding.port}/forwarded`)
    expect(await response.json()).toMatchObject({ name: "client", path: "/forwarded" })
    await using nowhere = await cluster.forward("pod/client", 9)
    expect(fetch(`http://127.0.0.1:${nowhere.port}/`)).rejects.toThrow()
  })

  test("logs of a container can be read", async () => {
    await cluster.apply(pod("talks", { command: ["/bin/sh", "-c", "echo hello from a pod; exec sample serve"] }))
    expect(await cluster.eventually("the log", () => cluster.kubectl("logs", "talks"))).toBe("hello from a pod\n")
  })

  test("a privileged pod of the node sees the pods' processes and the container runtime", async () => {
    const spec = {
      hostPID: true,
      containers: [
        {
          ...container("agent"),
          securityContext: { privileged: true },
          volumeMounts: [{ name: "run", mountPath: "/host/run/containerd" }],
        },
      ],
      volumes: [{ name: "run", hostPath: { path: "/run/containerd" } }],
    }
    await cluster.apply(pod("agent", { pod: spec }))
    await cluster.ready("pod/agent")
    const inAgent = (script: string) => cluster.kubectl("exec", "agent", "--", "sh", "-c", script)
    expect(await inAgent("ls /host/run/containerd/*.sock")).toContain("/host/run/containerd/containerd.sock\n")
    const names = (await inAgent("cat /proc/[0-9]*/environ 2>/dev/null; true"))
      .split("\0")
      .filter((entry) => entry.startsWith("SAMPLE_NAME="))
    for (const name of ["web", "client", "two", "side", "agent"]) expect(names).toContain(`SAMPLE_NAME=${name}`)
  }, 120_000)

  test("an ephemeral container joins a running pod and shares its network", async () => {
    const flags = ["--image=podside.test/sample:1", "--image-pull-policy=Never", "--container=guest", "--quiet"]
    await cluster.kubectl("debug", "client", ...flags, "--", "sample", "get", "http://127.0.0.1:8080/from-inside")
    const log = await cluster.eventually("its log", () => cluster.kubectl("logs", "client", "-c", "guest"))
    expect(JSON.parse(log)).toMatchObject({ name: "client", path: "/from-inside" })
  }, 120_000)

  test("what never happens ends in an error with the namespace's pods, events and logs", async () => {
    await cluster.apply(pod("imageless", { image: "podside.test/nothing:1" }))
    await cluster.eventually("an event", async () =>
      (await cluster.kubectl("get", "events")).includes("ErrImageNeverPull"),
    )
    const never = cluster.eventually("the impossible", () => false, { timeoutSeconds: 1 })
    const error = await never.catch((thrown: Error) => thrown)
    expect(error).toMatchObject({ code: "never" })
    const { message } = error as Error
    expect(message).toStartWith("Not within 1 s: the impossible")
    for (const part of ["imageless", "ErrImageNeverPull", "hello from a pod"]) expect(message).toContain(part)
  }, 120_000)

  test("a file that is no image is refused, an image is taken and runs", async () => {
    if (!cluster.own) return console.error("SKIPPED: another cluster's import command decides")
    expect(cluster.importImage(import.meta.path)).rejects.toMatchObject({ code: "image-refused" })
    const reference = await cluster.importPodsideImage()
    await cluster.apply(pod("podside", { image: reference, pod: podsideOnce(reference) }))
    const log = await cluster.eventually("its version", () => cluster.kubectl("logs", "podside"))
    expect(log).toStartWith("podside ")
  }, 400_000)

  test("helm talks to the cluster", async () => {
    expect(await cluster.helm("list", "--short")).toBe("")
  }, 400_000)
})

function podsideOnce(image: string) {
  return {
    restartPolicy: "Never",
    containers: [{ name: "podside", image, imagePullPolicy: "Never", args: ["--version"] }],
  }
}
