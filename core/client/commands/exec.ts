import { existsSync, statSync } from "node:fs"
import { basename } from "node:path"
import { type RunCommand, textOption } from "../../cli/command.ts"
import { reportError } from "../../cli/report.ts"
import { podsideVersion } from "../../cli/version.ts"
import { AppError } from "../../errors.ts"
import type { SessionRequest } from "../../session.ts"
import { Conversation } from "../conversation.ts"
import type { RunningProgram } from "../engine.ts"
import { debuggerPorts } from "../features/debugger-ports.ts"
import { composeEnv, type Environment } from "../features/env.ts"
import { skippedPrograms } from "../features/skipped-programs.ts"
import { createFeatures, whileAlive } from "../features/world.ts"
import { applyClusterProfile, commandLog, loadForCommand, noticesOf, progressOf } from "../load.ts"
import { openSession } from "../session/open.ts"
import { featureOptions, withPod } from "../settings.ts"
import { userName } from "../user-name.ts"

/** Marks the environment of a program in a session: another session inside it cannot work. */
const nestedVariable = "PODSIDE_SESSION"
/** A program that does not end on SIGTERM after its agent was lost is killed after this, in milliseconds. */
const killAfterMs = 2_000
const setUserId = 0o4000
const startsContainers = /docker|podman|nerdctl/

export const run: RunCommand = async ({ args, options }, context) => {
  if (process.env[nestedVariable] || process.env["MIRRORD_RESOLVED_CONFIG"]) {
    throw new AppError("nested", "This already runs inside a session; one inside another cannot work", {
      next: "Start the program from a shell outside of the session.",
    })
  }
  const [command = "", ...words] = args
  const step = progressOf(options)
  const signal = context.stopOnSignals()
  const { config, keyGenerated } = await loadForCommand(options, step)
  await applyClusterProfile(config)
  const features = featureOptions(config, debuggerPorts(args, process.env))
  const log = commandLog()
  const plugins = await context.startPlugins("client", { log })
  try {
    const engine = plugins.provide("provideEngine")
    const lack = await engine.unavailable()
    if (lack) throw new AppError(lack.code, lack.reason, { next: lack.next })
    const restriction = await engine.restriction()
    if (restriction !== undefined) step.warn(`On this machine ${restriction}`)
    const verdict = await plugins.authorize("authorizeLaunch", launchRequest(config.target, config.profile))
    if (!verdict.allow)
      throw new AppError(verdict.code, `Plugin "${verdict.plugin}" does not allow it: ${verdict.reason}`, {
        next: "Look with `podside plugin list` where that plugin is from, and ask whoever put it there.",
      })
    const executable = Bun.which(command, { PATH: process.env["PATH"] })
    if (!executable) throw noProgram(command)
    refuseForeignUser(executable)
    // What is wrong with the variables is told before an agent is made.
    composeEnv({}, {}, features.env)
    if (startsContainers.test(basename(command)))
      step.warn(`"${command}" is in the session; containers, which its service starts, are not`)
    const { session, conversation, world, env } = await step.run(`preparing ${command}`, async (inner) => {
      const session = await openSession({
        config,
        step: inner,
        log,
        signal,
        agentAddress: textOption(options, "agentAddress"),
        keyProvided: !keyGenerated,
      })
      const conversation = new Conversation(session, {
        log,
        notice: noticesOf(options, step),
      })
      try {
        const known = withPod(features, session.pod, config.feature.magic.auto_mount)
        const { world, fetchEnv, prepare } = createFeatures(conversation, known, executable)
        conversation.begin()
        const [remote] = await inner.run("fetching the pod's environment", () =>
          whileAlive(conversation, Promise.all([fetchEnv(), prepare()])),
        )
        signal.throwIfAborted()
        const env = composeEnv(ownEnvironment(), remote, features.env)
        inner.done(`Ready! ${command} runs with the ${session.peer}`)
        return { session, conversation, world, env }
      } catch (thrown) {
        // First: a connection that ends by itself is made again.
        conversation.end()
        await session.close()
        throw thrown
      }
    })
    try {
      const program = await engine.launch({
        command: executable,
        args: words,
        cwd: process.cwd(),
        env: { ...env, [nestedVariable]: "1" },
        skipped: skippedPrograms(config),
        world,
        log,
      })
      context.leaveSignalsTo(program.exited)
      // The end was asked for before there was a program to pass it on to.
      if (signal.aborted) program.kill("SIGTERM")
      return await untilEnd(program, conversation)
    } finally {
      conversation.end()
      await session.close()
    }
  } finally {
    await plugins.stop()
  }
}

/** With the exit codes of shells. */
function noProgram(command: string): AppError {
  if (command.includes("/") && existsSync(command))
    return new AppError("program-not-executable", `"${command}" is a folder, or nobody may execute it`, {
      next: "Make it executable (chmod +x), or start its interpreter with it.",
      exitCode: 126,
    })
  return new AppError("program-not-found", `There is no program "${command}"`, {
    next: "Check its name and the PATH.",
    exitCode: 127,
  })
}

/** The engine works without privileges, so a program that needs those of another user would run without them, and fail in odd ways. */
function refuseForeignUser(executable: string): void {
  const { mode, uid } = statSync(executable)
  if ((mode & setUserId) === 0 || uid === process.getuid?.()) return
  throw new AppError("setuid-program", `"${executable}" runs as another user, which is not possible in a session`, {
    next: "Start the program itself as the user you are; a session needs no privileges.",
  })
}

/** The program's exit code, or 1 when the agent was lost. */
async function untilEnd(program: RunningProgram, conversation: Conversation): Promise<number> {
  const lost = conversation.lost.then((error) => ({ error }))
  const first = await Promise.race([program.exited.then((code) => ({ code })), lost])
  // A program that fails for the loss ends before all is known about it.
  if ("code" in first) return conversation.isLost ? reportError(await conversation.lost) : first.code
  // Said now, not at the end: the program may take a while to stop.
  const exitCode = reportError(first.error)
  program.kill("SIGTERM")
  const kill = setTimeout(() => program.kill("SIGKILL"), killAfterMs)
  await program.exited
  clearTimeout(kill)
  return exitCode
}

function ownEnvironment(): Environment {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

function launchRequest(
  target: { path?: SessionRequest["target"]; namespace?: string },
  profile: string | undefined,
): SessionRequest {
  return {
    identity: { user: userName(), groups: [], extra: {} },
    target: target.path ?? { kind: "targetless" },
    namespace: target.namespace ?? "",
    labels: {},
    profile,
    client: { version: podsideVersion },
  }
}
