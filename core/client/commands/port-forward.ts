import { listOption, type RunCommand, textOption } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"
import { untilStopped } from "../../stop-signals.ts"
import { Conversation } from "../conversation.ts"
import { KnownNames } from "../features/dns/known-names.ts"
import { createNames } from "../features/dns/lookup.ts"
import { createIncomingWorld } from "../features/incoming/world.ts"
import { createOutgoingWorld } from "../features/outgoing/world.ts"
import { whileAlive } from "../features/world.ts"
import { listenForward } from "../forwarding.ts"
import { applyClusterProfile, commandLog, loadForCommand, noticesOf, progressOf } from "../load.ts"
import { parseForward, parseReverse, requireUnique } from "../port-mapping.ts"
import { openSession } from "../session/open.ts"
import { incomingOptions } from "../settings.ts"

/** Forwards ports both ways until it is interrupted or the connection breaks. */
export const run: RunCommand = async ({ options }, context) => {
  const forwards = listOption(options, "portMapping").map(parseForward)
  const reverse = listOption(options, "reversePortMapping").map(parseReverse)
  requireUnique(
    forwards.map(({ local }) => local),
    "local port",
  )
  requireUnique(
    reverse.map(({ remote }) => remote),
    "remote port",
  )
  if (forwards.length + reverse.length === 0) {
    throw new AppError("usage", "There is nothing to forward", { next: "Give -L or -R at least once.", exitCode: 2 })
  }
  const step = progressOf(options)
  const signal = context.stopOnSignals()
  const { config } = await loadForCommand(options, step)
  await applyClusterProfile(config)
  const log = commandLog()
  const session = await openSession({ config, step, log, signal, agentAddress: textOption(options, "agentAddress") })
  const stops: (() => void)[] = []
  const conversation = new Conversation(session, { log, notice: noticesOf(options, step) })
  try {
    const names = createNames(conversation)
    const own = { tcp: true, udp: true, ignoreLocalhost: false }
    const outgoing = createOutgoingWorld(conversation, own, { known: new KnownNames(), listensOn: () => false })
    const configured = incomingOptions(config)
    const mode = configured.mode === "steal" ? "steal" : "mirror"
    const incoming = createIncomingWorld(conversation, {
      ...configured,
      mode,
      probedPorts: session.pod?.probedPorts,
    })
    conversation.begin()
    for (const forward of forwards) {
      const { stop } = listenForward(forward, { outgoing, names, warn: (text) => step.warn(text) })
      stops.push(stop)
      step.info(`127.0.0.1:${forward.local} -> ${forward.host}:${forward.remote}`)
    }
    for (const { remote, local } of reverse) {
      await whileAlive(conversation, incoming.subscribe(remote, { ip: "127.0.0.1", port: local }))
      step.info(`${mode} port ${remote} of the target -> 127.0.0.1:${local}`)
    }
    step.info("Ready!")
    await whileAlive(conversation, untilStopped(signal))
    return 0
  } finally {
    for (const stop of stops) stop()
    // First: a connection that ends by itself is made again.
    conversation.end()
    await session.close()
  }
}
