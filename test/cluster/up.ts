import { existsSync, mkdirSync, rmSync, statfsSync } from "node:fs"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import { getFromApi, nodeNotReady } from "./api.ts"
import { type Component, componentsOf, writeConfiguration } from "./components.ts"
import { containerd, importPauseImage } from "./images.ts"
import { cacheFolder, claimLayout, clusterFolder, defaultName, type Layout, readLayout } from "./layout.ts"
import { withLock } from "./lock.ts"
import { installPackages } from "./packages.ts"
import { makeCertificates, writeKubeconfigs } from "./pki.ts"
import { holderOf, processesOf } from "./processes.ts"
import { program } from "./programs.ts"
import { lastLines, must, run } from "./run.ts"
import { inside, placeProgram, startInside, startSandbox, stopSandbox } from "./sandbox.ts"
import { nextStepFor } from "./symptoms.ts"

export type Say = (line: string) => void

const lockSeconds = 2400
const componentSeconds = 120
const leastFreeBytes = 2 * 1024 ** 3
const kubernetesNames = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"]

/** Null where a cluster can run, else why not. */
export function cannotRun(): string | null {
  if (process.platform !== "linux") return "a cluster of its own needs Linux"
  if (process.getuid?.() !== 0) return "a cluster of its own needs root"
  return null
}

/**
 * Brings a cluster up, heals one that lost parts, and leaves a whole one alone. Safe to call from several processes.
 * When it fails, nothing is left running.
 */
export async function up(name: string = defaultName, say: Say = () => {}): Promise<Layout> {
  const reason = cannotRun()
  if (reason !== null) {
    throw new AppError("cannot-run-cluster", `Cannot start a cluster: ${reason}`, { next: await alternative() })
  }
  const lock = lockOf(name)
  return withLock(
    lock,
    lockSeconds,
    () => say(`waiting for another command on the cluster ${name}`),
    async () => {
      const known = readLayout(name)
      if (known && (await whole(known))) return known
      enoughDisk(cacheFolder())
      await installPackages(say)
      const layout = claimLayout(name, await must(["ip", "route", "show", "table", "all"]))
      try {
        await start(layout, say)
      } catch (error) {
        await stopSandbox(layout)
        throw error
      }
      return layout
    },
  )
}

/** What somebody without root can do; a cluster found here is named, never used unasked. */
async function alternative(): Promise<string> {
  const advice = "Run as root on Linux, or use a cluster you have: set PODSIDE_TEST_KUBECONFIG to its kubeconfig file"
  const contexts = await run(["kubectl", "config", "get-contexts", "-o", "name"])
  const found = contexts.stdout.split("\n").filter((name) => /^(kind-|k3d-|minikube$)/.test(name))
  if (found.length === 0) return `${advice} (kind, minikube, k3d, any).`
  return `${advice} and PODSIDE_TEST_CONTEXT to its context; you have ${found.join(", ")}.`
}

/** Removes a cluster with everything it had: processes, mounts, namespaces, interfaces, routes, files. */
export async function down(name: string = defaultName, say: Say = () => {}): Promise<void> {
  const folder = clusterFolder(name)
  await withLock(
    lockOf(name),
    lockSeconds,
    () => say(`waiting for another command on the cluster ${name}`),
    async () => {
      const layout = readLayout(name)
      if (layout) await stopSandbox(layout)
      rmSync(folder, { recursive: true, force: true })
    },
  )
}

function lockOf(name: string): string {
  clusterFolder(name)
  return join(cacheFolder(), "locks", `${name}.lock`)
}

/** Whether every process runs and every part answers: what a second `up` asks before it does nothing. */
async function whole(layout: Layout): Promise<boolean> {
  const holder = holderOf(layout.folder)
  if (holder === null) return false
  const running = processesOf(holder)
  if (!componentsOf(layout).every((component) => running.has(component.name))) return false
  const probes = [
    apiProblem(layout),
    containerdProblem(layout),
    dnsProblem(layout),
    nodeNotReady(layout, 0),
    accountProblem(layout),
  ]
  return (await Promise.all(probes)).every((problem) => problem === null)
}

/** @throws AppError "component-failed" as soon as a started component has ended, or when one is not ready after two minutes */
async function start(layout: Layout, say: Say): Promise<void> {
  const kubernetes = await program("kubernetes", say)
  const coredns = await program("coredns", say)
  const pause = await program("pause", say)
  // Not for the cluster but for its tests, whose time limits allow for no compiler.
  for (const name of ["sample", "helm", "cert-manager"] as const) await program(name, say)
  for (const name of kubernetesNames) placeProgram(layout, kubernetes, name)
  placeProgram(layout, coredns, "coredns")
  placeProgram(layout, pause, "pause")

  const startedMs = Date.now()
  const seconds = () => `${((Date.now() - startedMs) / 1000).toFixed(1)} s`
  say(`starting the cluster ${layout.name}`)
  await makeCertificates(layout)
  await writeKubeconfigs(layout)
  const holder = await startSandbox(layout)
  await writeConfiguration(layout, await snapshotterFor(holder))

  const components = componentsOf(layout)
  const started = new Set<string>()
  const launch = async (component: Component) => {
    if (!processesOf(holder).has(component.name)) {
      await startInside(layout, holder, component.name, component.command)
    }
    started.add(component.name)
  }
  const wait = async (name: string, problem: () => Promise<string | null>) => {
    const deadline = Date.now() + componentSeconds * 1000
    for (;;) {
      const why = await problem()
      const running = processesOf(holder)
      const ended = [...started].find((other) => !running.has(other))
      if (ended !== undefined) throw await failure(layout, ended, "has ended")
      if (why === null) return
      if (Date.now() > deadline) throw await failure(layout, name, `is not ready after ${componentSeconds} s (${why})`)
      await Bun.sleep(100)
    }
  }

  for (const component of components.filter(({ waitsForApi }) => !waitsForApi)) await launch(component)
  await wait("containerd", () => containerdProblem(layout))
  await importPauseImage(layout, pause)
  await wait("kube-apiserver", () => apiProblem(layout))
  say(`  the API server answers after ${seconds()}`)
  const kubeletRan = processesOf(holder).has("kubelet")
  const kubeletStartMs = Date.now()
  for (const component of components.filter(({ waitsForApi }) => waitsForApi)) await launch(component)
  await wait("kubelet", () => nodeNotReady(layout, kubeletRan ? 0 : kubeletStartMs))
  await wait("coredns", () => dnsProblem(layout))
  await wait("kube-controller-manager", () => accountProblem(layout))
  for (const name of ["kube-scheduler", "kube-proxy"]) await wait(name, async () => null)
  say(`  ready after ${seconds()}`)
}

async function failure(layout: Layout, name: string, what: string): Promise<AppError> {
  const path = join(layout.folder, "logs", `${name}.log`)
  const text = existsSync(path) ? await Bun.file(path).text() : ""
  return new AppError("component-failed", `${name} ${what}. Its last lines:\n${lastLines(text, 15)}`, {
    next: nextStepFor(text, path),
  })
}

async function apiProblem(layout: Layout): Promise<string | null> {
  const answer = await getFromApi(layout, "/readyz")
  return answer.ok ? null : answer.why
}

async function containerdProblem(layout: Layout): Promise<string | null> {
  const answer = await run(containerd(layout, "version"), { timeoutSeconds: 5 })
  return answer.code === 0 ? null : answer.stderr.trim()
}

async function dnsProblem(layout: Layout): Promise<string | null> {
  try {
    const response = await fetch(`http://${layout.nodeAddress}:8181/ready`, { signal: AbortSignal.timeout(3000) })
    return response.ok ? null : `not ready: ${await response.text()}`
  } catch {
    return "does not answer"
  }
}

/** Pods need the default service account, which the controller manager makes. */
async function accountProblem(layout: Layout): Promise<string | null> {
  const answer = await getFromApi(layout, "/api/v1/namespaces/default/serviceaccounts/default")
  return answer.ok ? null : answer.why
}

function enoughDisk(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const { bavail, bsize } = statfsSync(folder)
  if (bavail * bsize >= leastFreeBytes) return
  throw new AppError(
    "disk-full",
    `The disk of ${folder} has ${Math.floor((bavail * bsize) / 1024 ** 2)} MiB left; a cluster needs 2 GiB`,
    {
      next: "Free space there, or set XDG_CACHE_HOME to a folder on another disk.",
    },
  )
}

/** Asks the kernel whether the cluster's disk can carry an overlay: inside another container's overlay it cannot. */
async function snapshotterFor(holder: number): Promise<string> {
  const attempt = `d=$(mktemp -d -p /var/tmp); mkdir $d/l $d/u $d/w $d/m
mount -t overlay overlay -o lowerdir=$d/l,upperdir=$d/u,workdir=$d/w $d/m; code=$?
umount $d/m 2>/dev/null; rm -rf $d; exit $code`
  const result = await run([...inside(holder), "sh", "-c", attempt])
  return result.code === 0 ? "overlayfs" : "native"
}
