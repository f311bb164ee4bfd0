import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { deployment, pod, service } from "../../cluster/samples/workloads.ts"
import type { TestCluster } from "../../cluster/use.ts"
import { Desk } from "./desk.ts"
import { type Program, preparePrograms } from "./programs.ts"

/** What differs between the ways to a session. */
export interface Way {
  title: string
  /** Names of the programs; absent: all. */
  programs?: readonly string[]
  options(): string[]
  env: Record<string, string>
  /** Are no agents left? */
  isTidy(): Promise<boolean>
}

const limitMs = 120_000

/**
 * Every feature times programs of many kinds, on a real cluster, as a user without privileges. A probe prints, a line each,
 * its environment, a file, a folder, its host's name, a call by name over TCP and UDP, then "listening" and what is asked.
 */
export async function matrix(cluster: TestCluster, way: Way): Promise<void> {
  const desk = new Desk()
  const programs = (await preparePrograms(desk.folder)).filter(({ name }) => way.programs?.includes(name) ?? true)
  const names = (wanted: (program: Program) => boolean) =>
    programs.filter((each) => each.command && wanted(each)).map((each) => [each.name, each] as const)

  for (const { name, lack } of programs)
    if (lack) process.stderr.write(`SKIPPED: the matrix without ${name}: ${lack}\n`)

  afterEach(() => desk.clear())
  afterAll(() => desk.close())

  describe.skipIf(!cluster.available)(way.title, () => {
    let host = ""

    beforeAll(async () => {
      await desk.open(cluster.kubeconfig)
      await cluster.importPodsideImage()
      const image = await cluster.importFilesImage()
      await cluster.apply([
        deployment("web", { image, environment: { GREETING: "hello from the pod" } }),
        deployment("backend"),
        service("backend"),
        pod("visitor"),
      ])
      for (const target of ["deployment/web", "deployment/backend", "pod/visitor"]) await cluster.ready(target)
      host = (await cluster.get("pods", "-l", "app=web")).items[0].metadata.name
    }, limitMs)

    const exec = (program: Program, config: object = {}) =>
      desk.exec(["-t", "deployment/web", "-n", cluster.namespace, ...way.options()], config, program.command!, way.env)

    /** A visitor's request to the pod, from another pod; the answer's body. */
    const visit = async (path: string, header = "x-none: 1") => {
      const [web] = (await cluster.get("pods", "-l", "app=web")).items
      const request = [`GET ${path} HTTP/1.1`, "Host: web", "Connection: close", header, "", ""].join("\\r\\n")
      const command = `printf '${request}' | nc -w 20 ${web.status.podIP} 8080`
      const answer = await cluster.kubectl("exec", "visitor", "--", "sh", "-c", command)
      return answer.slice(answer.indexOf("\r\n\r\n") + 4)
    }

    const read = () => [
      "env=hello from the pod",
      "file=plain",
      "list=1000",
      `host=${host}`,
      "tcp=backend",
      "udp=by udp",
    ]

    test.each(names((each) => each.shows === "calls"))(
      "%s reads a file and calls by name",
      async (_name, program) => {
        const running = await exec(program)
        expect([await running.ended, running.complaints]).toEqual([0, ""])
        expect(running.lines[0]).toBe("plain")
        expect(running.lines.join("\n")).toContain('"name":"backend"')
      },
      limitMs,
    )

    test.each(names((each) => each.shows === "no server"))(
      "%s has the pod's environment, files, name and network",
      async (_name, program) => {
        const running = await exec(program)
        expect([await running.ended, running.complaints]).toEqual([0, ""])
        expect(running.lines).toEqual(read())
      },
      limitMs,
    )

    test.each(names((each) => each.shows === "all"))(
      "%s has the pod's environment, files, name and network, and gets the requests its filter names",
      async (name, program) => {
        const running = await exec(program, {
          feature: { network: { incoming: { mode: "steal", http_filter: { header_filter: "^x-user: me$" } } } },
        })
        await running.saw("listening")
        expect(running.lines).toEqual([...read(), "listening"])
        expect(await visit("/mine", "x-user: me")).toContain(`probe ${name}`)
        expect(JSON.parse(await visit("/others", "x-user: you"))).toMatchObject({ name: "web", path: "/others" })
        expect(running.lines.filter((line) => line.startsWith("request="))).toEqual(["request=/mine"])
        await running.stop()
        expect(JSON.parse(await visit("/mine", "x-user: me"))).toMatchObject({ name: "web" })
      },
      limitMs,
    )

    test.each(names((each) => each.shows === "all"))(
      "%s sees a copy of what the pod answers",
      async (_name, program) => {
        const running = await exec(program, { feature: { network: { incoming: "mirror" } } })
        await running.saw("listening")
        expect(JSON.parse(await visit("/copied"))).toMatchObject({ name: "web", path: "/copied" })
        await running.saw("request=/copied")
        await running.stop()
      },
      limitMs,
    )

    test(
      "nothing stays behind",
      async () => {
        await cluster.eventually("no agents", () => way.isTidy(), { timeoutSeconds: 90 })
      },
      limitMs,
    )
  })
}
