import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { componentsOf } from "./components.ts"
import { importImageFile } from "./images.ts"
import { cacheFolder, type Layout, readLayout } from "./layout.ts"
import { holderOf, processesOf } from "./processes.ts"
import { program } from "./programs.ts"
import { must, run } from "./run.ts"
import { sampleImage, writeSampleImage } from "./samples/images.ts"
import { pod } from "./samples/workloads.ts"
import { inside } from "./sandbox.ts"
import { leftBehind, machineState, stillThere, tracesOf } from "./traces.ts"
import { cannotRun, down, up } from "./up.ts"

const reason = process.env["PODSIDE_TEST_KUBECONFIG"] ? "PODSIDE_TEST_KUBECONFIG names another cluster" : cannotRun()
if (reason !== null) process.stderr.write(`SKIPPED: the life of a cluster is not tested: ${reason}\n`)

const say = (line: string) => void process.stderr.write(`${line}\n`)
const [one, two] = ["test-one", "test-two"]
const longMs = 420_000

const main = join(import.meta.dir, "main.ts")
const command = (...args: string[]) => run([process.execPath, main, ...args], { timeoutSeconds: 240 })

/** Whether something listens on a TCP port (either IP version) in the network of process `pid`. */
async function listens(pid: number, port: number): Promise<boolean> {
  const listening = new RegExp(`:${port.toString(16).toUpperCase()} [0:]+0000 0A`)
  return ["tcp", "tcp6"].some((table) => listening.test(readFileSync(`/proc/${pid}/net/${table}`, "utf8")))
}

async function until(what: string, probe: () => Promise<boolean>, seconds = 120): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; !(await probe()); await Bun.sleep(200)) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`)
  }
}

describe.skipIf(reason !== null)("clusters of one machine", () => {
  let first: Layout
  let second: Layout
  let before: Record<string, string[]>

  /** Without the cluster its addresses are somebody else's: nothing may be sent there. */
  const asAdmin = (layout: Layout) => {
    if (holderOf(layout.folder) === null) throw new Error(`the cluster ${layout.name} is down`)
    return { env: { KUBECONFIG: join(layout.folder, "admin.kubeconfig") } }
  }
  const kubectl = async (layout: Layout, ...args: string[]) => must(["kubectl", ...args], asAdmin(layout))
  const processes = () => Object.fromEntries(processesOf(holderOf(first.folder)!))
  /** Asks the pod itself: its status may be older than the machine's last crash. */
  const podAnswers = async () => {
    const ask = ["kubectl", "exec", "stays", "--", "sample", "get", "http://127.0.0.1:8080/"]
    return (await run(ask, asAdmin(first))).code === 0
  }

  beforeAll(async () => {
    await Promise.all([down(one, say), down(two, say)])
    before = await machineState()
    // Two callers at once for the first: one brings it up, the other waits and finds it whole.
    ;[first, second] = (await Promise.all([up(one, say), up(two, say), up(one, say)])) as [Layout, Layout, Layout]
    await importImageFile(first, await writeSampleImage(sampleImage))
    const object = { ...pod("stays"), metadata: { name: "stays", namespace: "default" } }
    await must(["kubectl", "apply", "-f", "-"], {
      env: { KUBECONFIG: join(first.folder, "admin.kubeconfig") },
      input: JSON.stringify(object),
    })
    await kubectl(first, "wait", "--for=condition=Ready", "pod/stays", "--timeout=110s")
    await until("the pod answers", podAnswers)
  }, 2_400_000)

  afterAll(async () => {
    await Promise.all([down(one), down(two)])
  }, longMs)

  test("stand side by side, each with its own addresses, node and objects", async () => {
    const nodes = await Promise.all([first, second].map((layout) => kubectl(layout, "get", "nodes", "-o", "name")))
    expect(nodes).toEqual([`node/${one}-node\n`, `node/${two}-node\n`])
    expect(first.podRange).not.toBe(second.podRange)
    expect(await kubectl(second, "get", "pods", "-o", "name")).toBe("")
  })

  test("a second up changes nothing", async () => {
    const running = processes()
    await up(one, say)
    expect(processes()).toEqual(running)
  })

  test.each(componentsOf({ name: one, v6: null } as Layout).map(({ name }) => name))(
    "up heals a killed %s and the pod stays",
    async (name) => {
      const container = () =>
        kubectl(first, "get", "pod", "stays", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
      const [id, killed] = [await container(), processes()[name]!]
      process.kill(killed, "SIGKILL")
      // A process that ends loses its name first, and its ports later.
      await until(`${name} is gone`, async () => !existsSync(`/proc/${killed}`))
      await up(one, say)
      expect(processes()[name]).toBeGreaterThan(0)
      expect(processes()[name]).not.toBe(killed)
      await until("the pod answers", podAnswers)
      expect(await container()).toBe(id)
    },
    longMs,
  )

  test(
    "up heals a cluster whose every process was killed, and its objects are kept",
    async () => {
      process.kill(holderOf(first.folder)!, "SIGKILL")
      await until("it is gone", async () => holderOf(first.folder) === null)
      await up(one, say)
      await until("the pod answers again", podAnswers)
    },
    longMs,
  )

  test(
    "a port in use: up shows the component's last lines and the next step, and leaves nothing running",
    async () => {
      const holder = holderOf(first.folder)!
      process.kill(processes()["kube-apiserver"]!, "SIGKILL")
      await until("the port is free", async () => !(await listens(holder, 6443)))
      const other = Bun.spawn([...inside(holder), "busybox", "nc", "-ll", "-p", "6443", "-e", "true"])
      await until("the port is taken", () => listens(holder, 6443))
      const traces = tracesOf(first)
      const result = await command("up", "--name", one)
      expect(result.code).toBe(1)
      expect(result.stderr).toContain("error: kube-apiserver has ended. Its last lines:")
      expect(result.stderr).toContain("address already in use")
      expect(result.stderr).toContain("next: End the program that uses the port")
      await other.exited
      await until("nothing runs", async () => stillThere(traces).processes.length === 0)
      expect((await command("status", "--name", one)).code).toBe(1)
      await up(one, say)
      await until("the pod answers again", podAnswers)
    },
    longMs,
  )

  test(
    "down leaves no process, namespace, mount, interface, route, control group or file",
    async () => {
      const traces = [tracesOf(first), tracesOf(second)]
      for (const { processes, namespaces } of traces) {
        expect(processes.length).toBeGreaterThanOrEqual(9)
        expect(namespaces.length).toBeGreaterThanOrEqual(5)
      }
      for (const name of [one, two]) expect((await command("down", "--name", name)).code).toBe(0)
      const nothing = { processes: [], namespaces: [] }
      expect(traces.map(stillThere)).toEqual([nothing, nothing])
      expect([first, second].map(({ folder }) => existsSync(folder))).toEqual([false, false])
      expect(readLayout(one)).toBeNull()
      expect(leftBehind([first, second], before, await machineState())).toEqual([])
    },
    longMs,
  )
})

describe.skipIf(reason !== null)("a cluster that cannot be", () => {
  const name = "test-fault"
  const cache = `/tmp/podside-fault-${process.pid}`
  afterAll(() => run(["rm", "-rf", cache]))

  /** `up` started through another program, which takes something away. */
  const faulty = (through: string[], env: Record<string, string> = {}) =>
    run([...through, process.execPath, main, "up", "--name", name], { env, timeoutSeconds: 180 })

  /** A cache of this test's own, with the programs that were built already. */
  async function haveOwnCache(): Promise<void> {
    for (const needed of ["kubernetes", "coredns", "pause"] as const) await program(needed, say)
    const programs = join(cache, "podside/programs")
    mkdirSync(join(cache, "podside"), { recursive: true })
    if (!existsSync(programs)) symlinkSync(join(cacheFolder(), "programs"), programs)
  }

  test.each([
    [["up", "--name", "Not_A_Name"], 2, '"Not_A_Name" cannot name a cluster'],
    [["logs", "etcd", "--name", name], 1, `The cluster ${name} has no log of etcd`],
    [["kubeconfig", "--name", name], 1, `The cluster ${name} is down`],
    [["up", "--slow"], 1, "unknown option"],
    [["logs", "--lines", "some"], 1, "Give a number of lines"],
  ])("%p is refused with a sentence", async (args, code, text) => {
    const result = await command(...args)
    expect(result).toMatchObject({ code })
    expect(result.stderr).toContain(text)
    expect(result.stderr).not.toMatch(/ at .*\.ts:\d+/)
  })

  test("without root it says so and names the alternative", async () => {
    // A user namespace without a mapping: nobody, who can still read this checkout wherever it lies.
    const context = (name: string) => ({ name, context: { cluster: "c", user: "u" } })
    mkdirSync(cache, { recursive: true })
    const config = { apiVersion: "v1", kind: "Config", contexts: [context("kind-mine"), context("production")] }
    await Bun.write(join(cache, "kubeconfig"), JSON.stringify(config))
    const result = await faulty(["unshare", "--user"], { KUBECONFIG: join(cache, "kubeconfig") })
    expect(result).toMatchObject({ code: 1 })
    expect(result.stderr).toContain("needs root")
    expect(result.stderr).toContain("PODSIDE_TEST_KUBECONFIG")
    expect(result.stderr).toContain("you have kind-mine.")
  })

  test.each([
    ["sys_admin", "Cannot make the cluster's namespaces"],
    ["net_admin", "Cannot join the cluster's network"],
  ])(
    "without the capability %s it says what failed and what it needs",
    async (capability, text) => {
      await haveOwnCache()
      const result = await faulty(["setpriv", `--bounding-set=-${capability}`], { XDG_CACHE_HOME: cache })
      expect(result).toMatchObject({ code: 1 })
      expect(result.stderr).toContain(text)
      expect(result.stderr).toContain(`CAP_${capability.toUpperCase()}`)
      expect(holderOf(join(cache, "podside/clusters", name))).toBeNull()
    },
    2_400_000,
  )

  test("on a kernel without nf_tables it shows kube-proxy's last lines and the kernel's options", async () => {
    await haveOwnCache()
    const without = [process.execPath, join(import.meta.dir, "without-nf-tables.ts")]
    const result = await faulty(without, { XDG_CACHE_HOME: cache })
    expect(result).toMatchObject({ code: 1 })
    expect(result.stderr).toContain("error: kube-proxy has ended. Its last lines:")
    expect(result.stderr).toContain("Protocol not supported")
    expect(result.stderr).toContain("next: Use a kernel with nf_tables, connection tracking and NAT (CONFIG_NF_TABLES")
    expect(holderOf(join(cache, "podside/clusters", name))).toBeNull()
  }, 2_400_000)

  test("on a full disk it says how much is left and needed", async () => {
    const small = `mkdir -p ${cache}; mount -t tmpfs -o size=64m none ${cache}; exec "$@"`
    const result = await faulty(["unshare", "--mount", "sh", "-c", small, "sh"], { XDG_CACHE_HOME: cache })
    expect(result).toMatchObject({ code: 1 })
    expect(result.stderr).toContain("MiB left; a cluster needs 2 GiB")
    expect(result.stderr).toContain("next: Free space there")
  })

  test("without internet and cache it names the module proxy", async () => {
    const nowhere = { GOPROXY: "off", GOMODCACHE: `${cache}/modules`, GOFLAGS: "" }
    const result = await faulty([], { ...nowhere, XDG_CACHE_HOME: `${cache}/cold` })
    expect(result).toMatchObject({ code: 1 })
    expect(result.stderr).toContain("Cannot build kubernetes")
    expect(result.stderr).toContain("next: Check the disk space and the connection to the Go module proxy")
  }, 120_000)
})
