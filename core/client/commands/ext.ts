import { chmodSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { type OptionValues, type RunCommand, textOption } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"
import type { Logger } from "../../log.ts"
import { untilStopped } from "../../stop-signals.ts"
import { formatTarget } from "../../target.ts"
import type { AgentSession } from "../agent-session.ts"
import { Conversation } from "../conversation.ts"
import { reportingJson } from "../error-report.ts"
import { debuggerPorts } from "../features/debugger-ports.ts"
import { composeEnv, createEnvSource } from "../features/env.ts"
import { whileAlive } from "../features/world.ts"
import { applyClusterProfile, commandLog, loadForCommand } from "../load.ts"
import { progressTo, readProgressForm, type Step } from "../progress.ts"
import { type HandOver, handOver } from "../session/hand-over.ts"
import { openSession } from "../session/open.ts"
import { featureOptions } from "../settings.ts"

/** The step whose last line carries the answer; IDE plugins look for its name. */
const rootStep = "mirrord preparing to launch"
const defaultFile = "./mirrord.json"

/**
 * Prepares a session for an IDE and says how to start a program in it. mirrord answers with variables that load it into
 * the program; here `patched_path` is a program to start in place of the one asked for, which takes the session over.
 */
export const run: RunCommand = reportingJson(async ({ options }, context) => {
  const form = process.env["MIRRORD_PROGRESS_MODE"]
  const step = progressTo(form === undefined ? "json" : readProgressForm(form))
  const signal = context.stopOnSignals()
  const log = commandLog()
  let offer: HandOver | undefined
  let session: AgentSession | undefined
  try {
    const idleMs = await step.run(rootStep, async (inner) => {
      const named = options["configFile"] === true ? { ...options, configFile: defaultFile } : options
      const { config, keyGenerated } = await loadForCommand(named, inner)
      await applyClusterProfile(config)
      const features = featureOptions(config, debuggerPorts([], process.env))
      session = await openSession({
        config,
        step: inner,
        log,
        signal,
        agentAddress: textOption(options, "agentAddress"),
        keyProvided: !keyGenerated,
      })
      const remote = await environmentOf(session, features, inner, log)
      offer = handOver(session)
      const executable = textOption(options, "executable")
      const target = config.target.path === undefined ? undefined : formatTarget(config.target.path)
      if (executable === undefined) {
        inner.warn("Without -e there is nothing that could be started in the pod: only its variables are given")
      }
      inner.done(
        JSON.stringify({
          environment: composeEnv({}, remote, features.env),
          patched_path: executable === undefined ? null : starter(offer.address, named, target, executable),
          env_to_unset: features.env.unset ?? [],
          uses_operator: session.peer.startsWith("operator"),
        }),
      )
      return config.internal_proxy.start_idle_timeout * 1_000
    })
    await untilOver(offer!, idleMs, signal)
    return 0
  } finally {
    offer?.close()
    await session?.close()
  }
})

async function environmentOf(
  session: AgentSession,
  features: ReturnType<typeof featureOptions>,
  step: Step,
  log: Logger,
) {
  const conversation = new Conversation(session, {
    log,
    notice: (text) => step.warn(text),
  })
  const fetchEnv = createEnvSource(conversation)
  conversation.begin()
  try {
    return await whileAlive(conversation, fetchEnv(features.env, features.envLimitMs))
  } finally {
    conversation.end()
    session.link.pause()
  }
}

/** A program that runs the executable in the session that is offered. It lies in the folder of the session's socket. */
function starter(address: string, options: OptionValues, target: string | undefined, executable: string): string {
  const file = textOption(options, "configFile")
  const words = [
    ...ownCommand(),
    "exec",
    "--progress",
    "off",
    "--agent-address",
    address,
    ...(file === undefined ? [] : ["-f", file]),
    ...(target === undefined ? [] : ["-t", target]),
    "--",
    executable,
  ]
  const path = join(dirname(address.slice("unix:".length)), "start")
  writeFileSync(path, `#!/bin/sh\nexec ${words.map(quoted).join(" ")} "$@"\n`)
  chmodSync(path, 0o700)
  return path
}

/** This very binary; from sources, the runtime and the entry file. */
function ownCommand(): string[] {
  if (import.meta.url.includes("/$bunfs/")) return [process.execPath]
  return [process.execPath, fileURLToPath(new URL("../../main.ts", import.meta.url))]
}

const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`

/** Until the program has ended; at most the idle time while there is none. */
async function untilOver(offer: HandOver, idleMs: number, signal: AbortSignal): Promise<void> {
  const stopped = untilStopped(signal)
  let timer: ReturnType<typeof setTimeout> | undefined
  const idle = new Promise<"idle">((resolve) => {
    timer = setTimeout(() => resolve("idle"), idleMs)
  })
  const first = await Promise.race([offer.taken, offer.ended, stopped, idle])
  clearTimeout(timer)
  if (first === "idle") {
    throw new AppError("session-unused", "No program was started in the session, so it was closed", {
      next: "Start the program given as patched_path, or set internal_proxy.start_idle_timeout.",
    })
  }
  await Promise.race([offer.ended, stopped])
}
