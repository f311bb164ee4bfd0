import { afterAll, beforeAll } from "bun:test"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import { type Connection, connect, noClusterReason } from "./connection.ts"
import { eventually as eventuallyIn, type Patience } from "./eventually.ts"
import { type Forwarding, forward } from "./forward.ts"
import { cacheFolder } from "./layout.ts"
import { kubeconfigText, serverOf } from "./pki.ts"
import { podsideImage } from "./podside-image.ts"
import { program } from "./programs.ts"
import { must, type RunOptions, type RunResult, run } from "./run.ts"
import { filesImage, sampleImage, writeSampleImage } from "./samples/images.ts"
import { userKubeconfig } from "./users.ts"

/** Somebody who may use the cluster: a person with a client certificate or a service account with a token. */
export interface ClusterUser {
  name: string
  kubeconfig: string
  /** Standard output; throws AppError "command-failed". */
  kubectl(...args: string[]): Promise<string>
  /** For denials: code and texts, never throws. */
  tryKubectl(...args: string[]): Promise<RunResult>
}

/** The administrator's view, in the namespace of the test file. */
export interface TestCluster extends ClusterUser {
  /** False where no cluster can be had: then skip (`describe.skipIf(!cluster.available)`); the reason was printed. */
  available: boolean
  /** True for a cluster of ours; false for the one PODSIDE_TEST_KUBECONFIG names. */
  own: boolean
  /** Address of this machine that the cluster's pods and API server reach (in pods also `host.podside.test`). */
  hostAddress: string
  namespace: string
  helm(...args: string[]): Promise<string>
  /** `kubectl apply` of objects or of YAML text; objects without a namespace go into the test file's. */
  apply(manifest: object | object[] | string): Promise<void>
  /** `kubectl get -o json` of one object or of a list. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape depends on what was asked for
  get(...args: string[]): Promise<any>
  /** Waits for a rollout ("deployment/web"), or for a pod to be ready ("pod/web"). */
  ready(target: string, patience?: Patience): Promise<void>
  user(name: string, groups?: string[]): Promise<ClusterUser>
  serviceAccount(name: string): Promise<ClusterUser & { token: string }>
  /** Imports an image in OCI layout under its own reference; a content that is there already costs nothing. */
  importImage(path: string): Promise<void>
  /** Builds podside's image when a source is newer than it, imports it, and returns its reference. */
  importPodsideImage(): Promise<string>
  /** Imports the image with odd files and returns its reference; see samples/images.ts. */
  importFilesImage(): Promise<string>
  /** A port of a pod or service ("pod/web", 8080) on 127.0.0.1. */
  forward(target: string, port: number): Promise<Forwarding>
  /** Repeats `probe` until it returns something true; on failure the error shows the namespace's pods, events and logs. */
  eventually<T>(what: string, probe: () => Promise<T> | T, patience?: Patience): Promise<NonNullable<T>>
}

const bringUpSeconds = 2400

/**
 * Call it at the top of a test file: brings the cluster up before the first test (in no time when it runs), imports the
 * sample image, makes a fresh namespace and removes that after the last one.
 * @param label start of the namespace's name
 */
export function useCluster(label = "test"): TestCluster {
  const reason = noClusterReason()
  const namespace = `${label}-${crypto.randomUUID().slice(0, 8)}`
  if (reason !== null) {
    process.stderr.write(
      `SKIPPED: ${label} needs a cluster: ${reason}. Set PODSIDE_TEST_KUBECONFIG to use one you have (test/cluster/README.md).\n`,
    )
    return describeCluster(
      namespace,
      () => {
        throw new AppError("no-cluster", reason)
      },
      false,
    )
  }
  let connection: Connection | undefined
  const cluster = describeCluster(
    namespace,
    () => {
      if (!connection) throw new AppError("too-early", "The cluster is there from the first beforeAll on")
      return connection
    },
    true,
  )
  beforeAll(
    async () => {
      const opened = await connect((line) => process.stderr.write(`${line}\n`))
      const admin = { env: { KUBECONFIG: opened.kubeconfig } }
      if (opened.own) await removeForgotten(admin)
      const labels = { "podside.test/owner-pid": String(process.pid) }
      const object = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels } }
      await must(["kubectl", "create", "-f", "-"], { ...admin, input: JSON.stringify(object) })
      connection = opened
      const file = await writeSampleImage(sampleImage)
      await opened.importImage(file)
      await cluster.eventually("service account of the namespace", () => cluster.get("serviceaccount", "default"))
    },
    { timeout: bringUpSeconds * 1000 },
  )
  afterAll(async () => {
    if (connection && !process.env["PODSIDE_TEST_KEEP"]) {
      await run(["kubectl", "delete", "namespace", namespace, "--wait=false"], {
        env: { KUBECONFIG: connection.kubeconfig },
      })
    }
  })
  return cluster
}

/** A killed test run leaves its namespace; the next one removes it. */
async function removeForgotten(admin: RunOptions): Promise<void> {
  const list = await run(["kubectl", "get", "namespaces", "-l", "podside.test/owner-pid", "-o", "json"], admin)
  if (list.code !== 0) return
  for (const { metadata } of JSON.parse(list.stdout).items) {
    if (!isRunning(Number(metadata.labels["podside.test/owner-pid"])) && !metadata.deletionTimestamp) {
      await run(["kubectl", "delete", "namespace", metadata.name, "--wait=false"], admin)
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

function describeCluster(namespace: string, connection: () => Connection, available: boolean): TestCluster {
  const as = (name: string, kubeconfig: () => string): ClusterUser => {
    const command = (args: string[]) => ["kubectl", "--namespace", namespace, ...args]
    return {
      name,
      get kubeconfig() {
        return kubeconfig()
      },
      kubectl: (...args) => must(command(args), { env: { KUBECONFIG: kubeconfig() }, timeoutSeconds: 120 }),
      tryKubectl: (...args) => run(command(args), { env: { KUBECONFIG: kubeconfig() }, timeoutSeconds: 120 }),
    }
  }
  const admin = as("admin", () => connection().kubeconfig)
  const get: TestCluster["get"] = async (...args) => JSON.parse(await admin.kubectl("get", ...args, "-o", "json"))
  const eventually: TestCluster["eventually"] = (what, probe, patience) => eventuallyIn(admin, what, probe, patience)

  return Object.defineProperties({} as TestCluster, {
    ...Object.getOwnPropertyDescriptors(admin),
    ...Object.getOwnPropertyDescriptors({
      available,
      namespace,
      get own() {
        return connection().own
      },
      get hostAddress() {
        return connection().hostAddress
      },
      get,
      eventually,
      async helm(...args: string[]) {
        const helm = await program("helm", (line) => process.stderr.write(`${line}\n`))
        const helmHome = join(cacheFolder(), "helm")
        const env = {
          KUBECONFIG: connection().kubeconfig,
          HELM_CACHE_HOME: helmHome,
          HELM_CONFIG_HOME: helmHome,
          HELM_DATA_HOME: helmHome,
        }
        return must([helm, "--namespace", namespace, ...args], { env, timeoutSeconds: 180 })
      },
      async apply(manifest: object | object[] | string) {
        const objects = Array.isArray(manifest) ? { apiVersion: "v1", kind: "List", items: manifest } : manifest
        const input = typeof manifest === "string" ? manifest : JSON.stringify(objects)
        const apply = (...flags: string[]) =>
          run(["kubectl", "--namespace", namespace, "apply", ...flags, "-f", "-"], {
            input,
            env: { KUBECONFIG: connection().kubeconfig },
          })
        let result = await apply()
        // The check of fields asks every API group, and somebody's aggregated one may just be out of service.
        if (/unable to handle the request/.test(result.stderr)) result = await apply("--validate=ignore")
        if (result.code !== 0) throw new AppError("command-failed", `kubectl apply: ${result.stderr.trim()}`)
      },
      async ready(target: string, patience?: Patience) {
        await eventually(
          `${target} ready`,
          async () => {
            const result = target.startsWith("pod/")
              ? await admin.tryKubectl("wait", "--for=condition=Ready", target, "--timeout=1s")
              : await admin.tryKubectl("rollout", "status", target, "--watch=false")
            if (result.code !== 0) throw new Error(result.stderr.trim())
            return /successfully rolled out|condition met|roll out complete|complete/.test(result.stdout)
          },
          patience,
        )
      },
      async user(name: string, groups: string[] = []) {
        const { kubeconfig, usersFolder } = connection()
        const file = await userKubeconfig(kubeconfig, usersFolder, name, groups)
        return as(name, () => file)
      },
      async serviceAccount(name: string) {
        const { kubeconfig, usersFolder } = connection()
        const there = await admin.tryKubectl("get", "serviceaccount", name)
        if (there.code !== 0) await admin.kubectl("create", "serviceaccount", name)
        const token = (await admin.kubectl("create", "token", name, "--duration=1h")).trim()
        const file = join(usersFolder, `${namespace}-${name}.kubeconfig`)
        const text = kubeconfigText(await serverOf(kubeconfig), name, { token })
        await Bun.write(file, text, { mode: 0o600, createPath: true })
        process.on("exit", () => rmSync(file, { force: true }))
        return { ...as(name, () => file), kubeconfig: file, token }
      },
      importImage: (path: string) => connection().importImage(path),
      async importPodsideImage() {
        const { path, reference } = await podsideImage()
        await connection().importImage(path)
        return reference
      },
      async importFilesImage() {
        await connection().importImage(await writeSampleImage(filesImage))
        return filesImage.reference
      },
      forward: (target: string, port: number) => forward(connection().kubeconfig, namespace, target, port),
    } satisfies Omit<TestCluster, keyof ClusterUser>),
  })
}
