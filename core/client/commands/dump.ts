import type { Config } from "../../../config/load.ts"
import { listOption, type RunCommand, textOption } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"
import { openKube } from "../../kube/kube.ts"
import type { DaemonTcp } from "../../protocol/index.ts"
import { untilStopped } from "../../stop-signals.ts"
import { Conversation } from "../conversation.ts"
import { requireFilterSupport } from "../features/incoming/http-filter.ts"
import { Subscriptions } from "../features/incoming/subscriptions.ts"
import { whileAlive } from "../features/world.ts"
import { commandLog, loadForCommand, noticesOf, progressOf } from "../load.ts"
import { choosePod } from "../session/direct/choose-pod.ts"
import { openSession } from "../session/open.ts"
import { incomingOptions, kubeOptions } from "../settings.ts"
import { trafficText } from "../traffic-text.ts"

/** Prints a copy of the target's incoming traffic until it is interrupted. */
export const run: RunCommand = async ({ options }, context) => {
  const step = progressOf(options)
  const signal = context.stopOnSignals()
  const { config } = await loadForCommand(options, step)
  const target = config.target.path
  if (target === undefined || target.kind === "targetless") {
    throw new AppError("target-missing", "There is no target whose traffic could be printed", {
      next: "Name one with --target.",
      exitCode: 2,
    })
  }
  const given = listOption(options, "ports").flatMap((text) => text.split(",").map(readPort))
  const ports = given.length > 0 ? given : await portsOf(config)
  const log = commandLog()
  const session = await openSession({ config, step, log, signal, agentAddress: textOption(options, "agentAddress") })
  const conversation = new Conversation(session, { log, notice: noticesOf(options, step) })
  try {
    const incoming = { ...incomingOptions(config), mode: "mirror" as const }
    if (incoming.filter) requireFilterSupport(incoming.filter, (feature) => conversation.supports(feature))
    const subscriptions = new Subscriptions(conversation, incoming)
    conversation.on("Tcp", (message: DaemonTcp) => {
      if (message.kind === "SubscribeResult") subscriptions.answered(message.value)
      else print(conversation, trafficText(message))
    })
    conversation.begin()
    for (const port of ports) {
      await whileAlive(conversation, subscriptions.add(port, { ip: "127.0.0.1", port }))
      step.info(`Listening for traffic on port ${port}`)
    }
    await whileAlive(conversation, untilStopped(signal))
    return 0
  } finally {
    conversation.end()
    await session.close()
  }
}

/** Whoever reads our output slowly slows down the agent's. */
function print(conversation: Conversation, text: string): void {
  if (text === "" || process.stdout.write(text)) return
  const release = conversation.hold()
  process.stdout.once("drain", release)
}

function readPort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port > 0 && port < 65_536) return port
  throw new AppError("usage", `"${text}" is no port`, { next: "Ports are numbers from 1 to 65535.", exitCode: 2 })
}

/** Every port the target's container declares. @throws AppError "no-ports" */
async function portsOf(config: Config): Promise<number[]> {
  const kube = openKube(kubeOptions(config))
  const namespace = config.target.namespace ?? kube.namespace
  const silent = { run: async () => undefined as never, done() {}, info() {}, warn() {} }
  const chosen = await choosePod(kube, config.target.path!, namespace, silent)
  const declared = chosen?.pod.spec.containers.flatMap(({ ports }) => ports ?? []) ?? []
  const ports = declared.filter(({ protocol }) => (protocol ?? "TCP") === "TCP").map((port) => port.containerPort)
  if (ports.length > 0) return [...new Set(ports)]
  throw new AppError("no-ports", "The target's pod declares no ports", { next: "Name them with --ports." })
}
