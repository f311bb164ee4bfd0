import { buildAnswer, parseQuery, recordType, responseCode } from "../../core/client/features/dns/message.ts"

/*
 * Runs as root of a user namespace, in a network namespace that stands for the cluster:
 *
 *   this namespace   10.77.0.1   name server (UDP 53), the service "backend" (8080), visitors
 *   the pod          10.77.0.2   its program (8080), its own mounts; an agent stands beside it
 *
 * One line of JSON a message: a visit is asked for on standard input, its answer is given on standard output. At the end of
 * the input everything is ended.
 */

const [podsidePath = "", folder = "", podFiles = ""] = process.argv.slice(2)
const outside = "10.77.0.1"
const pod = "10.77.0.2"
const domain = "shop.svc.cluster.local"
/** The agent outlives the pause between two sessions. */
const agentIdleSeconds = 120

const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)

function ip(...words: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...words])
  if (exitCode !== 0) throw new Error(`ip ${words.join(" ")}: ${stderr.toString().trim()}`)
}

/** Waits until a program has said `text`; what it says afterwards is read and dropped. */
async function said(stream: ReadableStream<Uint8Array>, text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  void (async () => {
    let all = ""
    for await (const chunk of stream) {
      if (all.length < 10_000) all += new TextDecoder().decode(chunk)
      if (all.includes(text)) resolve()
    }
    reject(new Error(`ended before it said "${text}": ${all.trim()}`))
  })()
  return promise
}

/** In the pod's new namespaces: its files, its network, its environment, then its program. */
const podScript = `
set -e
mount --make-rprivate /
mount -t tmpfs pod-files "$1"
printf '%s' '{"tea":3,"coffee":5}' > "$1/catalog.json"
mount -t tmpfs pod-etc /mnt
printf 'search ${domain}\\nnameserver ${outside}\\noptions ndots:5\\n' > /mnt/resolv.conf
printf '127.0.0.1 localhost\\n${pod} web-0\\n' > /mnt/hosts
printf 'web-0\\n' > /mnt/hostname
for name in resolv.conf hosts hostname; do mount --bind /mnt/$name /etc/$name; done
echo mounted
read -r _
ip link set lo up
ip address add ${pod}/24 dev eth0
ip link set eth0 up
exec env -i PATH="$PATH" NAME=web PORT=8080 GREETING="hello from the pod" "$2" "$3"
`

async function startPod(): Promise<Bun.Subprocess<"pipe", "pipe", "inherit">> {
  const program = new URL("./pod-side.ts", import.meta.url).pathname
  const child = Bun.spawn(
    ["unshare", "--net", "--mount", "sh", "-c", podScript, "pod", podFiles, process.execPath, program],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit", cwd: "/" },
  )
  const [first, second] = child.stdout.tee()
  await said(first, "mounted")
  ip("link", "add", "to-pod", "type", "veth", "peer", "name", "eth0", "netns", String(child.pid))
  ip("address", "add", `${outside}/24`, "dev", "to-pod")
  ip("link", "set", "to-pod", "up")
  child.stdin.write("\n")
  child.stdin.flush()
  await said(second, "listening")
  return child
}

async function startAgent(pid: number): Promise<Bun.Subprocess<"ignore", "pipe", "inherit">> {
  const agent = Bun.spawn(
    [podsidePath, "--mode", "agent", "--listen", `unix:${folder}/agent.sock`, "process", "--pid", String(pid)],
    {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
      env: { PATH: process.env["PATH"], MIRRORD_AGENT_IDLE_TTL: String(agentIdleSeconds), MIRRORD_AGENT_POD_IPS: pod },
    },
  )
  await said(agent.stdout, "agent ready")
  return agent
}

async function serveNames(): Promise<void> {
  const known = new Set([`backend.${domain}`, `web.${domain}`])
  await Bun.udpSocket({
    hostname: outside,
    port: 53,
    socket: {
      data(socket, message, port, address) {
        const question = parseQuery(message)
        if (!question) return
        const isKnown = known.has(question.name.toLowerCase())
        const ips = isKnown && question.type === recordType.A ? [outside] : []
        socket.send(
          buildAnswer(question, isKnown ? responseCode.noError : responseCode.noSuchName, { ips }),
          port,
          address,
        )
      },
    },
  })
}

ip("link", "set", "lo", "up")
const child = await startPod()
await serveNames()
Bun.serve({ hostname: outside, port: 8080, fetch: () => Response.json({ name: "backend" }) })
const agent = await startAgent(child.pid)
say({ ready: true, pids: [process.pid, child.pid, agent.pid] })

for await (const line of console) {
  const { path, headers } = JSON.parse(line) as { path: string; headers: Record<string, string> }
  try {
    const response = await fetch(`http://${pod}:8080${path}`, { headers, keepalive: false })
    say({ status: response.status, body: await response.text() })
  } catch (thrown) {
    say({ error: String(thrown) })
  }
}
agent.kill("SIGTERM")
child.stdin.end()
await Promise.all([agent.exited, child.exited])
process.exit(0)
