import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { must, run } from "../../cluster/run.ts"
import { deployment, service } from "../../cluster/samples/workloads.ts"
import { useCluster } from "../../cluster/use.ts"
import { Desk } from "./desk.ts"

/*
 * What names lead to in a session is what they lead to in the pod, where a static program says it; for resolvers of all kinds, which go
 * through the pod's search list by themselves.
 */

const cluster = useCluster("names")
const limitMs = 240_000
const sources = join(import.meta.dir, "names")
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/** A way to look names up: the program, and whether it tells the canonical name. */
interface Resolver {
  command: string
  tellsFullNames: boolean
}

describe.skipIf(!cluster.available)("names", () => {
  const desk = new Desk()
  const resolvers: Resolver[] = []
  let names: string[] = []
  /** What the pod says, a line a name. */
  let truth: string[] = []

  const build = async (name: string, compiler: string, words: string[], env = {}) => {
    const path = Bun.which(compiler)
    const result = path ? await run([path, ...words], { env, cwd: sources, timeoutSeconds: 300 }) : undefined
    if (result?.code !== 0) process.stderr.write(`SKIPPED: names without ${name}: ${result?.stderr ?? "no compiler"}\n`)
    return result?.code === 0
  }

  beforeAll(async () => {
    await desk.open(cluster.kubeconfig)
    await cluster.importPodsideImage()
    const alias = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "alias" },
      spec: { type: "ExternalName", externalName: "host.podside.test" },
    }
    await cluster.apply([deployment("web"), service("web"), deployment("backend"), service("backend"), alias])
    for (const target of ["deployment/web", "deployment/backend"]) await cluster.ready(target)
    const own = `backend.${cluster.namespace}`
    const full = `${own}.svc.cluster.local`
    names = ["backend", own, full, "kubernetes", "kubernetes.default", "nowhere", "no.where", "host.podside.test"]
    names.push(...names.map((name) => `${name}.`), "BackEnd", "alias", `alias.${cluster.namespace}`, "alias.")

    const at = (name: string) => join(desk.folder, name)
    for (const script of ["names.py", "names.mjs"]) copyFileSync(join(sources, script), at(script))
    copyFileSync(process.execPath, at("bun"))
    const add = (command: string, tellsFullNames = false) => resolvers.push({ command, tellsFullNames })
    add(`${at("bun")} ${at("names.mjs")}`)
    if (Bun.which("python3", { PATH: systemPath })) add(`/usr/bin/python3 ${at("names.py")}`, true)
    if (Bun.which("node", { PATH: systemPath })) add(`node ${at("names.mjs")}`)
    if (await build("glibc", "gcc", ["-o", at("glibc"), "names.c"])) add(at("glibc"), true)
    if (await build("musl", "musl-gcc", ["-static", "-o", at("musl"), "names.c"])) add(at("musl"), true)
    const go = (name: string) => ["build", "-o", at(name), join(sources, "names.go")]
    if (await build("Go", "go", go("go-static"), { CGO_ENABLED: "0" })) add(at("go-static"))
    if (await build("Go with the C library's resolver", "go", go("go-cgo"), { CGO_ENABLED: "1" }))
      add(`env GODEBUG=netdns=cgo ${at("go-cgo")}`)
    if (await build("Java", "javac", ["-d", desk.folder, "Names.java"])) add(`java -cp ${desk.folder} Names`)

    const inPod = `cat >/tmp/musl && chmod +x /tmp/musl && /tmp/musl ${names.join(" ")}`
    const kubectl = ["kubectl", "--kubeconfig", cluster.kubeconfig, "-n", cluster.namespace]
    const input = new Uint8Array(await Bun.file(at("musl")).arrayBuffer())
    truth = linesOf(await must([...kubectl, "exec", "-i", "deployment/web", "--", "sh", "-c", inPod], { input }))
  }, limitMs)
  afterEach(() => desk.clear())
  afterAll(() => desk.close())

  const inSession = async (script: string, config: object = {}): Promise<string[]> => {
    const options = ["-t", "deployment/web", "-n", cluster.namespace, "-a", cluster.namespace]
    const running = await desk.exec(options, config, ["sh", "-c", script], { MIRRORD_OPERATOR_ENABLE: "false" })
    expect([await running.ended, running.complaints]).toEqual([0, ""])
    return running.lines
  }
  const whetherFound = (line: string) => line.replace(/ (?!none$).*/, " found")

  test("the pod finds what it should", () => {
    expect(truth).toContain(`backend backend.${cluster.namespace}.svc.cluster.local`)
    expect(truth).toContain("backend. none")
    expect(truth).toContain("kubernetes none")
    expect(truth).toContain("alias host.podside.test")
    expect(truth).toContain("host.podside.test. host.podside.test")
  })

  test.each([
    ["with remote files", {}],
    ["with this machine's files", { feature: { fs: "local" } }],
  ])(
    "are found, or not, as in the pod, by every kind of resolver (%s)",
    async (_, config) => {
      const script = resolvers.map(({ command }) => `${command} ${names.join(" ")}; echo`).join("\n")
      const said = (await inSession(script, config)).join("\n").trim().split("\n\n")
      expect(said).toHaveLength(resolvers.length)
      for (const [index, { command, tellsFullNames }] of resolvers.entries()) {
        const expected = tellsFullNames ? truth : truth.map(whetherFound)
        expect({ command, lines: said[index]!.split("\n") }).toEqual({ command, lines: expected })
      }
    },
    limitMs,
  )

  test(
    "programs that read resolv.conf themselves see the pod's search list",
    async () => {
      const own = `search ${cluster.namespace}.svc.cluster.local svc.cluster.local cluster.local`
      expect((await inSession("cat /etc/resolv.conf")).slice(1)).toEqual([own, "options ndots:5"])
      if (Bun.which("dig", { PATH: systemPath }) === null) return
      const [ip, ...others] = await inSession("dig +search +short backend A; dig +short backend A")
      expect(ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
      expect(others).toEqual([])
    },
    limitMs,
  )

  test(
    "a filter's names are this machine's, however a program comes to them, and the others the pod's",
    async () => {
      const script = `${desk.folder}/glibc backend backend.${cluster.namespace} web`
      const local = { feature: { network: { dns: { filter: { local: ["backend"] } } } } }
      expect((await inSession(script, local)).map(whetherFound)).toEqual([
        "backend none",
        `backend.${cluster.namespace} found`,
        "web found",
      ])
      const remote = { feature: { network: { dns: { filter: { remote: ["backend"] } } } } }
      expect((await inSession(script, remote)).map(whetherFound)).toEqual([
        "backend found",
        `backend.${cluster.namespace} none`,
        "web none",
      ])
    },
    limitMs,
  )
})

const linesOf = (text: string) => text.trim().split("\n")
