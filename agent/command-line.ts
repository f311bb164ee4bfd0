import { type ParseArgsConfig, parseArgs } from "node:util"
import { AppError } from "../core/errors.ts"
import { maxConnections } from "./clients.ts"
import { maxDescriptors } from "./files/descriptors.ts"
import { readMetricsAddress } from "./metrics-address.ts"

/** Where clients connect. */
export type ListenAddress = { kind: "tcp"; port: number } | { kind: "unix"; path: string }

export type AgentMode =
  | { kind: "targeted"; containerId: string; runtime: string }
  | { kind: "ephemeral" }
  | { kind: "targetless" }
  | { kind: "process"; pid: number }

export interface AgentOptions {
  mode: AgentMode
  listen: ListenAddress
  firstClientSeconds: number
  /** Options that stand before environment variables of the same meaning; absent ones are not there. */
  metricsAddress?: string
  operatorCertificate?: string
  cleanRulesOnStart?: true
  inServiceMesh?: true
  /** Fails right behind the first client; for tests of whoever starts agents. */
  testError: boolean
}

type Flags = NonNullable<ParseArgsConfig["options"]>

const generalFlags = {
  "communicate-port": { type: "string", short: "l", default: "61337" },
  "communication-timeout": { type: "string", short: "t", default: "30" },
  listen: { type: "string" },
  metrics: { type: "string" },
  "operator-tls-cert-pem": { type: "string" },
  "clean-iptables-on-start": { type: "boolean" },
  "is-mesh": { type: "boolean" },
  ipv6: { type: "boolean" },
  "test-error": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} satisfies Flags

const modeFlags = {
  targeted: {
    "container-id": { type: "string", short: "c" },
    "container-runtime": { type: "string", short: "r", default: "containerd" },
    mesh: { type: "string" },
  },
  ephemeral: { mesh: { type: "string" } },
  targetless: {},
  process: { pid: { type: "string" } },
} satisfies Record<AgentMode["kind"], Flags>

export const agentUsage = `Usage: mirrord-agent [options] <mode> [mode options]

Options:
  -l, --communicate-port <port>          TCP port for clients (default 61337)
      --listen unix:<path>               a unix socket for clients instead
  -t, --communication-timeout <seconds>  how long to wait for the first client (default 30)
      --metrics <ip:port>                serve Prometheus metrics there
      --operator-tls-cert-pem <pem>      certificate of the only operator that may connect
      --clean-iptables-on-start          remove iptables rules of other agents (mirrord's) instead of refusing
                                         to start; what a dead podside agent left is always removed

Modes:
  targeted -c, --container-id <id> [-r, --container-runtime docker|containerd|cri-o]
                                         beside a container of this node
  ephemeral                              as an ephemeral container of the target's pod
  targetless                             without a target
  process --pid <n>                      beside a process of this machine

Environment: the variables of mirrord's agent, and
  PODSIDE_AGENT_RULES        auto (default), nf_tables, nf_tables-unowned, iptables-nft, iptables-legacy
  PODSIDE_AGENT_KEEP_CALLERS false: the application sees the pod's address instead of its callers'
  PODSIDE_AGENT_COPY_MIRRORED
                             false: mirrored connections pass through the agent; else they reach the application
                             directly and the kernel gives the agent copies, where it can
  PODSIDE_AGENT_KEEP_NAMES   false: each lookup is put to the target's name server; else its answers are kept for as
                             long as their records hold, a second at most
  PODSIDE_AGENT_REQUIRE_TLS  true: refuse to run without an operator's certificate
MIRRORD_AGENT_OVERRIDE_CACHE_CONTROL concerns what clients answer; the application's own answers stay as they are.
Of no effect: MIRRORD_AGENT_POD_IPS (own traffic is told by its mark), MIRRORD_JAQ_TIME_LIMIT (a jq program
gets a number of steps, about 50 ms), MIRRORD_AGENT_PASSTHROUGH_MIRRORING.

Limits: ${maxConnections} connections of clients at once, ${maxDescriptors} open files for each.
Exit codes: 0 nobody needs the agent any more, 1 it failed, 2 bad command line, 99 another agent's
firewall rules are in the way.
`

/** Undefined when help was asked for. @throws AppError "bad-command-line", exit code 2 */
export function readCommandLine(argv: readonly string[]): AgentOptions | undefined {
  const split = modeIndex(argv)
  const general = parse(argv.slice(0, split), generalFlags)
  if (general.help) return undefined
  const port = integer("--communicate-port", general["communicate-port"], 65535)
  return {
    mode: readMode(argv[split], argv.slice(split + 1)),
    listen: general.listen === undefined ? { kind: "tcp", port } : unixAddress(general.listen),
    firstClientSeconds: integer("--communication-timeout", general["communication-timeout"], 65535),
    ...(general.metrics !== undefined && { metricsAddress: metricsAddress(general.metrics) }),
    ...(general["operator-tls-cert-pem"] !== undefined && { operatorCertificate: general["operator-tls-cert-pem"] }),
    ...(general["clean-iptables-on-start"] && { cleanRulesOnStart: true }),
    ...(general["is-mesh"] && { inServiceMesh: true }),
    testError: general["test-error"] ?? false,
  }
}

function readMode(word: string | undefined, rest: readonly string[]): AgentMode {
  switch (word) {
    case "targeted": {
      const options = parse(rest, modeFlags.targeted)
      const containerId = options["container-id"]
      const runtime = options["container-runtime"]
      if (!containerId || !/^[\w.-]+$/.test(containerId)) throw badCommandLine("targeted needs --container-id <id>")
      if (!["docker", "containerd", "cri-o"].includes(runtime)) throw badCommandLine(`unknown runtime "${runtime}"`)
      return { kind: "targeted", containerId, runtime }
    }
    case "ephemeral":
    case "targetless":
      parse(rest, modeFlags[word])
      return { kind: word }
    case "process":
      return { kind: "process", pid: integer("--pid", parse(rest, modeFlags.process).pid, 2 ** 22) }
    default:
      throw badCommandLine(word === undefined ? "no mode given" : `unknown mode "${word}"`)
  }
}

/** Options belong before the mode, so the first word that is no option (and no value of one) is the mode. */
function modeIndex(argv: readonly string[]): number {
  const { tokens } = parseArgs({ args: [...argv], options: generalFlags, strict: false, tokens: true })
  return tokens.find(({ kind }) => kind === "positional")?.index ?? argv.length
}

function parse<F extends Flags>(args: readonly string[], options: F) {
  try {
    return parseArgs({ args: [...args], options }).values
  } catch (thrown) {
    throw badCommandLine((thrown as Error).message)
  }
}

function unixAddress(text: string): ListenAddress {
  const path = text.startsWith("unix:") ? text.slice("unix:".length) : ""
  if (path === "") throw badCommandLine(`--listen takes unix:<path>, not "${text}"`)
  return { kind: "unix", path }
}

function metricsAddress(text: string): string {
  if (!readMetricsAddress(text)) throw badCommandLine(`--metrics takes <ip:port>, not "${text}"`)
  return text
}

function integer(name: string, text: string | undefined, max: number): number {
  const value = /^\d{1,10}$/.test(text ?? "") ? Number(text) : Number.NaN
  if (!(value <= max)) throw badCommandLine(`${name} takes a number up to ${max}, not "${text ?? ""}"`)
  return value
}

function badCommandLine(reason: string): AppError {
  return new AppError("bad-command-line", reason, { next: "See mirrord-agent --help.", exitCode: 2 })
}
