import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import { type Server, Sessions } from "./session.ts"
import { backend, podName, podPort, type Stage } from "./stage.ts"

/** Says what a step has shown; throws when it has not. */
export type Report = (step: string, work: () => Promise<string>) => Promise<void>

const seenLimitMs = 30_000
const localName = "your own server"

/** A server for Node: answers with its name and prints what it was asked. */
const nodeServer = `
const server = require("node:http").createServer((request, response) => {
  console.log(request.method + " " + request.url)
  response.end(JSON.stringify({ name: ${JSON.stringify(localName)}, path: request.url }))
})
server.listen(${podPort}, "0.0.0.0", () => console.log("listening"))
`

/** Everything a session does, with unmodified programs of this machine. */
export async function showEverything(binary: string, stage: Stage, report: Report): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "podside-demo-"))
  try {
    const sessions = new Sessions(binary, stage, join(folder, "config.json"))
    await showReading(sessions, stage, report)
    await showCalls(sessions, folder, report)
    await showMirror(sessions, stage, report)
    await showSteal(sessions, stage, report)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function showReading(sessions: Sessions, { variable, file }: Stage, report: Report): Promise<void> {
  await report("remote environment", async () => {
    const value = await sessions.output(["node", "-e", `console.log(process.env.${variable.name})`])
    return expecting(value, variable.value, `node sees ${variable.name}="${value}"`)
  })
  await report("remote file", async () => {
    const content = await sessions.output(["cat", file.path])
    return expecting(content, file.content, `cat ${file.path} prints ${content}; this machine has no such file`)
  })
}

async function showCalls(sessions: Sessions, folder: string, report: Report): Promise<void> {
  const { url, name } = backend
  const programs: [label: string, command: string[] | undefined][] = [
    ["curl", Bun.which("curl") ? ["curl", "--silent", "--fail", url] : undefined],
    [
      "python",
      Bun.which("python3")
        ? ["python3", "-c", `import urllib.request as u; print(u.urlopen("${url}").read().decode())`]
        : undefined,
    ],
    ["node", ["node", "-e", `fetch("${url}").then((r) => r.text()).then((t) => console.log(t))`]],
    ["a static Go program", await goProgram(folder, url)],
  ]
  for (const [label, command] of programs) {
    if (!command) continue
    await report(`a call by its cluster name, by ${label}`, async () => {
      const body = await sessions.output(command)
      return expecting(nameIn(body), name, `${url} answers as "${nameIn(body)}"`)
    })
  }
}

async function showMirror(sessions: Sessions, stage: Stage, report: Report): Promise<void> {
  await report("mirror", () =>
    withServer(sessions, "mirror", async (server) => {
      const body = await stage.visit("/orders")
      expecting(nameIn(body), podName, "")
      await seen(server, "GET /orders")
      return `a visitor's GET /orders was answered by "${podName}", and ${localName} saw a copy of it`
    }),
  )
}

async function showSteal(sessions: Sessions, stage: Stage, report: Report): Promise<void> {
  const filtered = { mode: "steal", http_filter: { header_filter: "^x-user: me$" } }
  await report("steal with a header filter", () =>
    withServer(sessions, filtered, async (server) => {
      const mine = await stage.visit("/orders", { "x-user": "me" })
      const others = await stage.visit("/other-orders", { "x-user": "somebody" })
      await seen(server, "GET /orders")
      expecting(nameIn(others), podName, "")
      if (server.lines.includes("GET /other-orders"))
        throw new AppError("demo-failed", "a request of somebody else was taken")
      return expecting(
        nameIn(mine),
        localName,
        `"x-user: me" was answered by ${nameIn(mine)}, "x-user: somebody" by "${nameIn(others)}"`,
      )
    }),
  )
}

async function withServer(
  sessions: Sessions,
  incoming: unknown,
  work: (server: Server) => Promise<string>,
): Promise<string> {
  const server = await sessions.server(["node", "-e", nodeServer], { feature: { network: { incoming } } }, "listening")
  try {
    return await work(server)
  } finally {
    await server.stop()
  }
}

async function seen({ lines }: Server, line: string): Promise<void> {
  const deadline = performance.now() + seenLimitMs
  while (!lines.includes(line)) {
    if (performance.now() > deadline) throw new AppError("demo-failed", `${localName} did not see "${line}"`)
    await Bun.sleep(20)
  }
}

/** Undefined when Go is not here or cannot build. */
async function goProgram(folder: string, url: string): Promise<string[] | undefined> {
  if (!Bun.which("go")) return undefined
  const out = join(folder, "get")
  const source = new URL("./go/main.go", import.meta.url).pathname
  const build = Bun.spawn(["go", "build", "-o", out, source], {
    env: { ...process.env, CGO_ENABLED: "0" },
    stdout: "ignore",
    stderr: "ignore",
  })
  return (await build.exited) === 0 ? [out, url] : undefined
}

function nameIn(body: string): string {
  try {
    return String((JSON.parse(body) as { name?: unknown }).name)
  } catch {
    return body.slice(0, 80)
  }
}

function expecting(seen: string, wanted: string, sentence: string): string {
  if (seen !== wanted) throw new AppError("demo-failed", `expected "${wanted}", got "${seen}"`)
  return sentence
}
