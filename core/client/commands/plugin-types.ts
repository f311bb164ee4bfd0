import type { RunCommand } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"

/** Put in by the build: declarations of the module "podside". */
declare const PODSIDE_PLUGIN_TYPES: string | undefined

export const run: RunCommand = async () => {
  if (typeof PODSIDE_PLUGIN_TYPES !== "string") {
    throw new AppError("not-built", "The declarations are made by the build", {
      next: "Run npm run build and use dist/podside.",
    })
  }
  process.stdout.write(PODSIDE_PLUGIN_TYPES)
  return 0
}
