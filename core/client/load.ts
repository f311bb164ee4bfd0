import { type LoadedConfig, loadConfig } from "../../config/load.ts"
import { type OptionValues, textOption } from "../cli/command.ts"
import { createProgress, type ProgressForm, progressTo, readProgressForm, type Step } from "./progress.ts"
import { sessionEnvironment } from "./session-environment.ts"

/** The progress a command was asked for, by option or by mirrord's variable. */
export function progressOf(options: OptionValues): Step {
  return progressTo(progressForm(options))
}

export function progressForm(options: OptionValues): ProgressForm {
  return readProgressForm(textOption(options, "progress") ?? process.env["MIRRORD_PROGRESS_MODE"])
}

/** Reads the configuration a command's options lead to, and shows what it has to say. */
export async function loadForCommand(
  options: OptionValues,
  step: Step = createProgress({ form: "off", write() {} }),
): Promise<LoadedConfig> {
  const loaded = await loadConfig({ environment: sessionEnvironment(options, process.env) })
  if (!loaded.config.use_proxy) {
    for (const name of ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]) delete process.env[name]
  }
  for (const warning of loaded.warnings) step.warn(warning)
  return loaded
}
