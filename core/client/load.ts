import { type Config, type LoadedConfig, loadConfig } from "../../config/load.ts"
import { applyProfile, profileReference } from "../../config/profile.ts"
import { type OptionValues, textOption } from "../cli/command.ts"
import { AppError } from "../errors.ts"
import { KubeError } from "../kube/errors.ts"
import { openKube } from "../kube/kube.ts"
import { resourcePath } from "../kube/resources.ts"
import { createLogger, type Logger } from "../log.ts"
import type { NoticeLevel } from "./conversation.ts"
import { createProgress, type ProgressForm, progressTo, readProgressForm, type Step } from "./progress.ts"
import { inTermsOfOptions, sessionEnvironment } from "./session-environment.ts"
import { kubeOptions } from "./settings.ts"

/** The progress a command was asked for, by option or by mirrord's variable. */
export function progressOf(options: OptionValues): Step {
  return progressTo(progressForm(options))
}

/** Where a session's notices go. A lost connection is told even where progress is not. */
export function noticesOf(options: OptionValues, step: Step): (text: string, level: NoticeLevel) => void {
  const isOff = progressForm(options) === "off"
  return (text, level) => {
    if (level === "info") step.info(text)
    else if (level === "connection" && isOff) process.stderr.write(`podside: ${text}\n`)
    else step.warn(text)
  }
}

export function progressForm(options: OptionValues): ProgressForm {
  return readProgressForm(textOption(options, "progress") ?? process.env["MIRRORD_PROGRESS_MODE"])
}

/** A command's own log: what went wrong in detail, and with `PODSIDE_DEBUG=1` what it decided. */
export const commandLog = (): Logger => createLogger({ level: process.env["PODSIDE_DEBUG"] === "1" ? "debug" : "warn" })

/** Reads the configuration a command's options lead to, and shows what it has to say. */
export async function loadForCommand(
  options: OptionValues,
  step: Step = createProgress({ form: "off", write() {} }),
): Promise<LoadedConfig> {
  const loaded = await loadConfig({ environment: sessionEnvironment(options, process.env) }).catch((thrown) => {
    throw inTermsOfOptions(thrown, options)
  })
  if (!loaded.config.use_proxy) {
    for (const name of ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]) delete process.env[name]
  }
  for (const warning of loaded.warnings) step.warn(warning)
  return loaded
}

const profiles = { group: "profiles.mirrord.metalbear.co", version: "v1alpha" }

/** Puts the cluster's profile, when the configuration names one, on top of the configuration. @throws AppError "profile-not-found" */
export async function applyClusterProfile(config: Config): Promise<void> {
  if (config.profile === undefined) return
  const reference = profileReference(config.profile)
  const resource = reference.namespace === undefined ? "mirrordclusterprofiles" : "mirrordprofiles"
  const path = resourcePath({ ...profiles, resource }, reference.namespace, reference.name)
  try {
    const { spec } = await openKube(kubeOptions(config)).request<{ spec?: unknown }>("GET", path, {
      what: `get ${resource} "${reference.name}"`,
    })
    applyProfile(config, reference, spec ?? {})
  } catch (thrown) {
    if (!(thrown instanceof KubeError) || thrown.status !== 404) throw thrown
    throw new AppError("profile-not-found", `The cluster has no profile "${config.profile}"`, {
      cause: thrown,
      next: "Check `profile` in the configuration; `kubectl get mirrordclusterprofiles` lists them.",
    })
  }
}
