import { afterEach, expect, test } from "bun:test"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { askingSide, connectLink, type StreamAddress } from "../core/link/index.ts"
import { TestClient, within } from "./test-agent.ts"

/* The agent as it is started in a cluster: a process with a command line, variables, and a line that says it is ready. */

const main = join(import.meta.dir, "../core/main.ts")
const isRoot = process.getuid?.() === 0
const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

type Options = { env?: Record<string, string>; wrapper?: string[] }

function spawnAgent(words: readonly string[], { env = {}, wrapper = [] }: Options = {}) {
  const agent = Bun.spawn([...wrapper, process.execPath, main, "--mode", "agent", ...words], {
    env: { PATH: process.env["PATH"] ?? "", MIRRORD_AGENT_JSON_LOG: "true", ...env },
    stdout: "pipe",
    stderr: "pipe",
  })
  undo.push(async () => {
    agent.kill()
    await agent.exited
  })
  return agent
}

/** Waits for the ready line, then gives the fields of the log line about the listener. */
async function ready(agent: ReturnType<typeof spawnAgent>): Promise<{ address: string; pid?: number }> {
  const line = await within("the ready line", firstLine(agent.stdout))
  if (!/agent ready( - version (\S+))?/.test(line))
    throw new Error(`no ready line but: ${await new Response(agent.stderr).text()}`)
  expect(line).toBe("agent ready")
  return JSON.parse(await within("the log line", firstLine(agent.stderr)))
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = ""
  const reader = stream.getReader()
  while (!text.includes("\n")) {
    const { done, value } = await reader.read()
    if (done) break
    text += new TextDecoder().decode(value)
  }
  reader.releaseLock()
  return text.split("\n")[0]!
}

/** Whole lines, until one satisfies. */
async function lines(stream: ReadableStream<Uint8Array>, isLast: (line: string) => boolean): Promise<string[]> {
  let text = ""
  const decoder = new TextDecoder()
  const reader = stream.getReader()
  const whole = () => text.split("\n").slice(0, -1)
  while (!whole().some(isLast)) {
    const { done, value } = await within("a log line", reader.read())
    if (done) break
    text += decoder.decode(value)
  }
  reader.releaseLock()
  return whole()
}

const connect = async (address: StreamAddress) => new TestClient(await connectLink(askingSide, address))
const portOf = (address: string) => Number(address.slice(address.lastIndexOf(":") + 1))
const folderOf = (prefix: string) => {
  const folder = mkdtempSync(join(tmpdir(), prefix))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test("listens on both families, says so, and ends with 0 when it is told to", async () => {
  const agent = spawnAgent(["-l", "0", "-t", "30", "targetless"])
  const { address } = await ready(agent)
  const clients = [
    await connect({ hostname: "127.0.0.1", port: portOf(address) }),
    await connect({ hostname: "::1", port: portOf(address) }),
  ]
  for (const client of clients) expect(await client.ask({ kind: "Ping" })).toEqual({ kind: "Pong" })
  agent.kill("SIGTERM")
  expect(await clients[0]!.next()).toMatchObject({ kind: "Close" })
  expect(await within("the exit", agent.exited)).toBe(0)
})

test("ends with 0 as soon as its last client is gone", async () => {
  const agent = spawnAgent(["-l", "0", "targetless"])
  const client = await connect({ hostname: "127.0.0.1", port: portOf((await ready(agent)).address) })
  await client.ask({ kind: "Ping" })
  client.link.abort()
  expect(await within("the exit", agent.exited)).toBe(0)
})

test("--test-error ends with 1 behind the first client", async () => {
  const agent = spawnAgent(["-l", "0", "--test-error", "targetless"])
  const client = await connect({ hostname: "127.0.0.1", port: portOf((await ready(agent)).address) })
  client.send({ kind: "Ping" })
  expect(await within("the exit", agent.exited)).toBe(1)
})

test("a port that is taken ends it with 1 and a reason", async () => {
  const taken = Bun.listen({ hostname: "::", port: 0, socket: { data() {} } })
  undo.push(() => taken.stop(true))
  const agent = spawnAgent(["-l", `${taken.port}`, "targetless"])
  expect(await within("the exit", agent.exited)).toBe(1)
  expect(await new Response(agent.stderr).text()).toContain("Cannot listen for clients")
})

test("metrics follow what happens", async () => {
  const { port } = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  const agent = spawnAgent(["-l", "0", "targetless"], { env: { MIRRORD_AGENT_METRICS: "127.0.0.1:0" } })
  const log = await ready(agent)
  const client = await connect({ hostname: "127.0.0.1", port: portOf(log.address) })
  await client.negotiate()
  const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port } } as const
  await client.ask({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress } } })
  const { metricsPort } = log as unknown as { metricsPort: number }
  const lines = (await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()).split("\n")
  expect(lines).toContain("mirrord_agent_client_count 1")
  expect(lines).toContain("mirrord_agent_tcp_outgoing_connection_count 1")
})

test("an option wins over the variable that means the same", async () => {
  const env = { MIRRORD_AGENT_METRICS: "127.0.0.1:1", AGENT_OPERATOR_CERT_ENV: "" }
  const agent = spawnAgent(["-l", "0", "--metrics", "127.0.0.1:0", "targetless"], { env })
  const { metricsPort } = (await ready(agent)) as unknown as { metricsPort: number }
  expect(metricsPort).toBeGreaterThan(1)
  const secured = spawnAgent(["-l", "0", "--operator-tls-cert-pem", "no PEM", "targetless"], { env })
  expect(await within("the exit", secured.exited)).toBe(1)
  expect(await new Response(secured.stderr).text()).toContain("holds no certificate")
})

test("what it says of its variables is JSON, too, when that is wished", async () => {
  const agent = spawnAgent(["-l", "0", "targetless"], { env: { MIRRORD_AGENT_IDLE_TTL: "soon" } })
  const said = await lines(agent.stderr, (line) => line.includes('"listening"'))
  expect(said.map((line) => JSON.parse(line))).toMatchObject([
    { level: "error", variable: "MIRRORD_AGENT_IDLE_TTL" },
    { level: "info", message: "listening" },
  ])
})

test.each([
  ["--bogus targetless", 2, "bogus"],
  ["", 2, "no mode given"],
  ["--help", 0, ""],
])("%j ends with %d", async (line, code, reason) => {
  const agent = spawnAgent(line.split(" ").filter((word) => word !== ""))
  expect(await within("the exit", agent.exited)).toBe(code)
  expect(await new Response(agent.stderr).text()).toContain(reason)
  expect(await new Response(agent.stdout).text()).toContain(code === 0 ? "Usage: mirrord-agent" : "")
})

test("finds its target by the container's id and uses that network", async () => {
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex")
  const cgroups = folderOf("podside-cgroup-")
  if (Bun.spawnSync(["mount", "-t", "cgroup2", "none", cgroups]).exitCode !== 0) {
    console.warn("SKIPPED: the target is looked up by its cgroup, and cgroups cannot be mounted here")
    return
  }
  const cgroup = join(cgroups, `cri-containerd-${id}.scope`)
  mkdirSync(cgroup)
  const target = Bun.spawn(["unshare", "--net", "sh", "-c", "ip link set lo up; echo ready; exec cat"], {
    stdin: "pipe",
    stdout: "pipe",
    env: { PATH: process.env["PATH"] ?? "", MARK: "of the target" },
  })
  undo.push(
    () => Bun.spawnSync(["umount", cgroups]),
    () => rmdirSync(cgroup),
    async () => {
      target.kill()
      await target.exited
    },
  )
  await target.stdout.getReader().read()
  writeFileSync(join(cgroup, "cgroup.procs"), `${target.pid}`)
  const agent = spawnAgent(["-l", "0", "targeted", "--container-id", id, "--container-runtime", "containerd"])
  const { address, pid } = await ready(agent)
  expect(pid).toBe(target.pid)
  const client = await connect({ hostname: "127.0.0.1", port: portOf(address) })
  await client.negotiate()
  const request = { envVarsFilter: [], envVarsSelect: ["MARK"] }
  const answer = await client.ask({ kind: "GetEnvVarsRequest", value: request })
  expect(answer).toMatchObject({ value: { kind: "Ok", value: new Map([["MARK", "of the target"]]) } })
  // Reached from here, refused from there.
  const own = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  undo.push(() => own.stop(true))
  const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port: own.port } } as const
  const refusal = await client.ask({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress } } })
  expect(refusal).toMatchObject({ value: { kind: "Connect", value: { kind: "Err" } } })
})

/*
 * What a container of the agent needs when everything was dropped. Files only their owner may read need one more
 * capability: DAC_READ_SEARCH for reading, DAC_OVERRIDE for writing. It is left to whoever starts the agent, because it
 * also opens every file of the node that is reachable through the shared process namespace.
 */
test.each([
  ["net_admin,+sys_ptrace,+sys_admin", "13"],
  ["net_admin,+sys_ptrace,+sys_admin,+dac_read_search", "fd"],
])("with only +%s it reaches a stranger's process; a private file gives %s", async (capabilities, expected) => {
  if (!isRoot) {
    console.warn("SKIPPED: capabilities can only be dropped by root")
    return
  }
  const folder = folderOf("podside-caps-")
  chmodSync(folder, 0o755)
  const setup = `ip link set lo up; umask 077; echo x > ${folder}/private; chown 4000 ${folder}/private
    echo ready; exec setpriv --reuid=4000 --regid=4000 --clear-groups cat`
  const target = Bun.spawn(["unshare", "--net", "sh", "-c", setup], {
    stdin: "pipe",
    stdout: "pipe",
    env: { ...process.env, MARK: "1" },
  })
  undo.push(async () => {
    target.kill()
    await target.exited
  })
  await target.stdout.getReader().read()
  const wrapper = ["setpriv", "--bounding-set", `-all,+${capabilities}`]
  const agent = spawnAgent(["-l", "0", "process", "--pid", `${target.pid}`], { wrapper })
  const client = await connect({ hostname: "127.0.0.1", port: portOf((await ready(agent)).address) })
  await client.negotiate()
  const variables = await client.ask({
    kind: "GetEnvVarsRequest",
    value: { envVarsFilter: [], envVarsSelect: ["MARK"] },
  })
  expect(variables).toMatchObject({ value: { kind: "Ok", value: new Map([["MARK", "1"]]) } })
  const open = async (path: string) => {
    const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
    const { value } = await client.file({ kind: "Open", value: { path, openOptions } })
    if (value.kind === "Ok") return "fd"
    return value.value.kind === "RemoteIO" ? `${value.value.value.rawOsError}` : value.value.kind
  }
  expect(await open("/etc/hosts")).toBe("fd")
  expect(await open(`${folder}/private`)).toBe(expected)
  // Refused from the target's network, where nobody listens.
  const own = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } })
  undo.push(() => own.stop(true))
  const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port: own.port } } as const
  const answer = await client.ask({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress } } })
  expect(answer).toMatchObject({ value: { kind: "Connect", value: { kind: "Err" } } })
})

test("an ephemeral agent that may not see the target's files serves everything else, and says so", async () => {
  if (!isRoot) {
    console.warn("SKIPPED: only root can become somebody else")
    return
  }
  // Beside process 1, which belongs to root.
  const wrapper = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
  const agent = spawnAgent(["-l", "0", "ephemeral"], { wrapper, env: { OF_THE_POD: "yes" } })
  const line = await within("the ready line", firstLine(agent.stdout))
  expect(line).toBe("agent ready")
  const [denial, listening] = (await lines(agent.stderr, (text) => text.includes('"listening"'))).map((text) =>
    JSON.parse(text),
  )
  expect(denial).toMatchObject({ level: "warn", message: "files of the target are out of reach" })
  const client = await connect({ hostname: "127.0.0.1", port: portOf(listening.address) })
  await client.negotiate()
  const request = { envVarsFilter: [], envVarsSelect: ["OF_*"] }
  expect(await client.ask({ kind: "GetEnvVarsRequest", value: request })).toMatchObject({
    value: { kind: "Ok", value: new Map([["OF_THE_POD", "yes"]]) },
  })
  const openOptions = { read: true, write: false, append: false, truncate: false, create: false, createNew: false }
  for (const path of ["/etc/hostname", "/none"]) {
    expect(await client.file({ kind: "Open", value: { path, openOptions } })).toMatchObject({
      value: { value: { kind: "RemoteIO", value: { rawOsError: 13 } } },
    })
  }
})

/** Starts a target with a network of its own in a user namespace, then the agent beside it, all without privileges. */
const withoutRoot = `
  unshare --net sh -c 'ip link set lo up; exec "$0" -e "$1"' "$BUN" "$SERVER" >"$FOLDER/port" & target=$!
  while [ ! -s "$FOLDER/port" ]; do sleep 0.02; done
  trap 'kill $target $agent' EXIT TERM
  "$BUN" "$MAIN" --mode agent $LISTEN process --pid $target & agent=$!
  wait $agent`

function spawnWithoutRoot(folder: string, listen: string) {
  const server = `const l = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {}, open(s) { s.end("pod") } } }); console.log(l.port)`
  const drop = isRoot ? ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] : []
  const env = { PATH: process.env["PATH"] ?? "", HOME: folder, BUN: process.execPath, MAIN: main, FOLDER: folder }
  const agent = Bun.spawn([...drop, "unshare", "--user", "--map-root-user", "sh", "-c", withoutRoot], {
    env: { ...env, SERVER: server, LISTEN: listen },
    stdout: "pipe",
    stderr: "pipe",
  })
  undo.push(async () => {
    agent.kill()
    await agent.exited
  })
  return agent
}

test("without privileges it moves into the target's network and serves a unix socket", async () => {
  const folder = folderOf("podside-userns-")
  chmodSync(folder, 0o777)
  const socketPath = join(folder, "agent.sock")
  const agent = spawnWithoutRoot(folder, `--listen unix:${socketPath}`)
  const line = await within("the ready line", firstLine(agent.stdout))
  expect(line || (await new Response(agent.stderr).text())).toBe("agent ready")
  const client = await connect({ unix: socketPath })
  await client.negotiate()
  const port = Number(await Bun.file(join(folder, "port")).text())
  const remoteAddress = { kind: "Ip", value: { ip: "127.0.0.1", port } } as const
  const answer = await client.ask({ kind: "TcpOutgoing", value: { kind: "Connect", value: { remoteAddress } } })
  expect(answer).toMatchObject({ value: { value: { kind: "Ok" } } })
  expect(await client.next()).toMatchObject({
    value: { kind: "Read", value: { value: { bytes: new Uint8Array(Buffer.from("pod")) } } },
  })
  client.link.abort()
  expect(await within("the exit", agent.exited)).toBe(0)
  expect(existsSync(socketPath)).toBe(false)
})

test("without privileges a port is refused, with what to do instead", async () => {
  const folder = folderOf("podside-userns-")
  chmodSync(folder, 0o777)
  const agent = spawnWithoutRoot(folder, "-l 0")
  expect(await within("the exit", agent.exited)).toBe(1)
  expect(await new Response(agent.stderr).text()).toContain("--listen unix:PATH")
})
