import { afterEach, expect, test } from "bun:test"
import { rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Conversation } from "../../../core/client/conversation.ts"
import { createNames } from "../../../core/client/features/dns/lookup.ts"
import { createEnvSource } from "../../../core/client/features/env.ts"
import { createFileWorld } from "../../../core/client/features/files/world.ts"
import { connectToAddress } from "../../../core/client/session/address.ts"
import { createConnector } from "../../../core/client/session/direct/connect.ts"
import { defaultAgentOptions } from "../../../core/kube/agent-options.ts"
import { agentJob, ephemeralAgent } from "../../../core/kube/agent-spec.ts"
import { openKube } from "../../../core/kube/kube.ts"
import type { Pod } from "../../../core/kube/objects.ts"
import { listenLinks, servingSide } from "../../../core/link/index.ts"
import { createLogger, silentLogger } from "../../../core/log.ts"
import { type ClientMessage, type DaemonMessage, supports } from "../../../core/protocol/index.ts"
import { startFakeKube } from "../../fakes/kube-server.ts"
import { startFakeTunnels, tunnelTo } from "../../fakes/tunnel-server.ts"
import { fileFeature } from "./rules.ts"

/* What our client creates for and says to an unmodified agent of mirrord 3.250. */

const options = { ...defaultAgentOptions, image: "ghcr.io/metalbear-co/mirrord:3.250.0" }
const identity = { name: "mirrord-agent-abcdefghij", port: 45_678, gid: 4321 }
const pod = {
  metadata: { name: "web-1", namespace: "default" },
  spec: {
    nodeName: "node-1",
    containers: [{ name: "web", env: [{ name: "A", value: "1" }], envFrom: [{ configMapRef: { name: "settings" } }] }],
  },
  status: {
    phase: "Running",
    podIPs: [{ ip: "10.1.2.3" }, { ip: "fd00::3" }],
    containerStatuses: [{ name: "web", ready: true, containerID: "containerd://0123abcd" }],
  },
} as unknown as Pod

const listening = ["-l", "45678", "-t", "30"]
const variables = (ips?: string) => [
  "RUST_LOG=info",
  "MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS=true",
  "MIRRORD_AGENT_JSON_LOG=false",
  "MIRRORD_AGENT_PASSTHROUGH_MIRRORING=true",
  "MIRRORD_MAX_BODY_BUFFER_SIZE=65535",
  "MIRRORD_MAX_BODY_BUFFER_TIMEOUT=1000",
  "MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT=2",
  "MIRRORD_JAQ_TIME_LIMIT=1",
  ...(ips ? [`MIRRORD_AGENT_POD_IPS=${ips}`] : []),
  "MIRRORD_AGENT_EXTERNAL_IP_FIX=true",
  "MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL=true",
]
const written = (env: readonly { name: string; value?: string }[]) => env.map(({ name, value }) => `${name}=${value}`)
const added = ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN"]

test("the Job beside a container is mirrord's, field by field", () => {
  const { metadata, spec } = agentJob(identity, options, { pod, container: "web", nodeHostname: "host-1" })
  expect(metadata).toEqual({
    name: identity.name,
    labels: { app: "mirrord", "kuma.io/sidecar-injection": "disabled" },
    annotations: { "sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled" },
  })
  const { containers, ...rest } = spec.template.spec
  expect({ ...spec, template: undefined }).toEqual({
    ttlSecondsAfterFinished: 1,
    backoffLimit: 0,
    template: undefined,
  } as never)
  expect(rest).toEqual({
    restartPolicy: "Never",
    hostPID: true,
    nodeSelector: { "kubernetes.io/hostname": "host-1" },
    tolerations: [{ operator: "Exists" }],
    volumes: [
      { name: "hostrun", hostPath: { path: "/run" } },
      { name: "hostvar", hostPath: { path: "/var" } },
    ],
  } as never)
  const [{ env, ...container }] = containers as [(typeof containers)[number]]
  expect(written(env)).toEqual(variables("10.1.2.3,fd00::3"))
  expect(container).toEqual({
    name: "mirrord-agent",
    image: options.image,
    imagePullPolicy: "IfNotPresent",
    command: ["./mirrord-agent"],
    args: [...listening, "targeted", "--container-id", "0123abcd", "--container-runtime", "containerd"],
    resources: { requests: { cpu: "1m", memory: "1Mi" }, limits: { cpu: "1", memory: "100Mi" } },
    securityContext: { runAsGroup: 4321, privileged: false, capabilities: { add: added } },
    volumeMounts: [
      { name: "hostrun", mountPath: "/host/run" },
      { name: "hostvar", mountPath: "/host/var" },
    ],
  } as never)
})

test("the Job without a target has no privileges", () => {
  const { containers, ...rest } = JSON.parse(JSON.stringify(agentJob(identity, options))).spec.template.spec
  expect(rest).toEqual({ restartPolicy: "Never", nodeSelector: {} })
  expect(containers[0].args).toEqual([...listening, "targetless"])
  expect(containers[0].securityContext).toBeUndefined()
  expect(written(containers[0].env)).toEqual(variables())
})

test("with least capabilities only the named ones are left, and only then", () => {
  const target = { pod, container: "web" }
  const least = { ...options, leastCapabilities: true, disabledCapabilities: ["SYS_ADMIN"] }
  const expected = { drop: ["ALL"], add: ["SYS_PTRACE", "NET_ADMIN"] }
  const [container] = agentJob(identity, least, target).spec.template.spec.containers
  expect((container as { securityContext?: object }).securityContext).toMatchObject({ capabilities: expected })
  expect(ephemeralAgent(identity, least, target).securityContext.capabilities).toEqual(expected)
  expect(ephemeralAgent(identity, options, target).securityContext.capabilities).toEqual({ add: added })
})

test("the ephemeral container ends with the target's own variables", () => {
  const { env, ...container } = ephemeralAgent(identity, options, { pod, container: "web" })
  expect(written(env as Parameters<typeof written>[0])).toEqual([...variables("10.1.2.3,fd00::3"), "A=1"])
  expect(container).toEqual({
    name: identity.name,
    image: options.image,
    imagePullPolicy: "IfNotPresent",
    targetContainerName: "web",
    command: ["./mirrord-agent"],
    args: [...listening, "ephemeral"],
    securityContext: { runAsGroup: 4321, privileged: false, capabilities: { add: added } },
    envFrom: [{ configMapRef: { name: "settings" } }],
  } as never)
})

// ---- what is said

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0).reverse()) step()
})

test("an agent that knows no HTTP drops who asks for the faster way, and goes on serving the one who came first", async () => {
  const { path, refused, heard } = scriptedAgent("1.29.0")
  const pods = { type: "ADDED", object: { metadata: { name: "agent" }, status: { podIP: "10.0.0.1" } } }
  const routes = { "GET /api/v1/namespaces/shop/pods": () => Response.json(pods) }
  const kube = startFakeKube({ forwardTo: path, routes })
  const tunnels = await startFakeTunnels(kube, tunnelTo(path))
  undo.push(() => Promise.all([kube.stop(), tunnels.stop()]))
  const said: string[] = []
  const connector = createConnector({
    kube: openKube({ kubeconfig: tunnels.kubeconfig }),
    pod: { namespace: "shop", name: "agent", port: 40_000 },
    peer: "agent",
    transport: "auto",
    log: createLogger({ level: "debug", write: (line) => said.push(line) }),
    signal: new AbortController().signal,
  })
  const { link, settled } = (await connector.connect())!
  await settled
  expect(tunnels.heads).toHaveLength(1)
  expect(said).toEqual([expect.stringContaining("stays with port-forward error=")])
  const pong = new Promise((resolve) => link.receive(resolve))
  link.resume()
  link.send({ kind: "Ping" })
  expect(await pong).toEqual({ kind: "Pong" })
  link.close()
  await link.ended
  expect({ refused, heard }).toEqual({ refused: [], heard: ["SwitchProtocolVersion", "Ping"] })
})

/** Answers as an agent of `version` would, and keeps what one would not have understood. */
function scriptedAgent(version: string) {
  const path = join(tmpdir(), `podside-peer-${crypto.randomUUID()}.sock`)
  const refused: string[] = []
  const heard: string[] = []
  let fd = 0n
  const answer = (message: ClientMessage): DaemonMessage | undefined => {
    if (heard.length === 0 && message.kind !== "SwitchProtocolVersion") refused.push(`${message.kind} came first`)
    heard.push(message.kind === "FileRequest" ? message.value.kind : message.kind)
    switch (message.kind) {
      case "SwitchProtocolVersion":
        return { kind: "SwitchProtocolVersionResponse", value: version }
      case "Ping":
        return { kind: "Pong" }
      case "ReadyForLogs":
        if (!supports(version, "readyForLogs")) refused.push(message.kind)
        return undefined
      case "GetEnvVarsRequest":
        return { kind: "GetEnvVarsResponse", value: { kind: "Ok", value: new Map([["A", "1"]]) } }
      case "GetAddrInfoRequestV2":
        if (!supports(version, "addrInfoV2")) refused.push(message.kind)
        return { kind: "GetAddrInfoResponse", value: { kind: "Ok", value: [{ name: "web.", ip: "10.0.0.1" }] } }
      case "GetAddrInfoRequest":
        return { kind: "GetAddrInfoResponse", value: { kind: "Ok", value: [{ name: "web.", ip: "10.0.0.1" }] } }
      case "FileRequest": {
        const { kind, value } = message.value
        const feature = fileFeature[kind]
        if (feature && !supports(version, feature)) refused.push(kind)
        if (kind === "Open" && !value.path.startsWith("/")) refused.push(`${kind} ${value.path}`)
        if (kind === "Open") return { kind: "File", value: { kind, value: { kind: "Ok", value: { fd: fd++ } } } }
        if (kind === "ReadLink") return { kind: "File", value: { kind, value: { kind: "Ok", value: { path: "/x" } } } }
        if (kind === "MakeDir") return { kind: "File", value: { kind, value: { kind: "Ok", value: null } } }
        if (kind === "GetDEnts64") {
          const empty = { fd: value.remoteFd, entries: [], resultSize: 0n }
          return { kind: "File", value: { kind, value: { kind: "Ok", value: empty } } }
        }
        return undefined
      }
      default:
        refused.push(message.kind)
        return undefined
    }
  }
  const listener = listenLinks(servingSide, { unix: path }, (link) =>
    link.receive((message) => {
      const reply = answer(message)
      if (reply) link.send(reply)
    }),
  )
  undo.push(() => {
    listener.stop(true)
    rmSync(path, { force: true })
  })
  return { path, refused, heard }
}

test.each(["1.2.2", "1.5.0", "1.12.0", "1.19.0", "1.29.0"])(
  "an agent of protocol %s hears nothing it does not know",
  async (version) => {
    const { path, refused, heard } = scriptedAgent(version)
    const session = await connectToAddress(`unix:${path}`)
    expect(session.protocolVersion).toBe(version)
    const conversation = new Conversation(session, { log: silentLogger, notice() {}, pingEveryMs: 20 })
    const environment = createEnvSource(conversation)
    const names = createNames(conversation)
    const surroundings = {
      home: "/home/dev",
      workingDirectory: "/home/dev",
      temporaryDirectory: "/tmp",
      executable: "/bin/x",
      platform: "linux",
    } as const
    const files = createFileWorld(conversation, { mode: "write", readAheadBytes: 0 }, surroundings)
    conversation.begin()
    expect(await environment({})).toEqual({ A: "1" })
    expect(await names.remote("web", 4)).toEqual({ ips: ["10.0.0.1"], owner: "web" })
    await names.remote("web", 6)
    expect(await files.list("/etc")).toEqual([])
    const known = async (work: Promise<unknown>) =>
      work.then(
        () => true,
        () => false,
      )
    expect(await known(files.readLink("/a"))).toBe(supports(version, "readLink"))
    expect(await known(files.makeDirectory("/a", 0o755))).toBe(supports(version, "makeDir"))
    conversation.end()
    await session.close()
    expect(heard[0]).toBe("SwitchProtocolVersion")
    expect(refused).toEqual([])
  },
)
