import { resolve } from "node:path"
import type { RunCommand } from "../../cli/command.ts"
import { inspectPlugins } from "../../host/inspect.ts"
import { loadFile } from "../../host/load.ts"
import { describePlugin } from "./plugin-list.ts"

export const run: RunCommand = async ({ args }, context) => {
  const checked = await loadFile(args[0] as string)
  // Beside the others, because order and names count too; the file itself may already stand in `--plugins`.
  const others = (await context.loadPlugins()).filter(({ path }) => path !== resolve(args[0] as string))
  const summaries = await inspectPlugins([...others, checked], await context.loadPluginConfig())
  const position = summaries.length - 1
  process.stdout.write(`The host accepts it, at this position:\n\n${describePlugin(summaries[position]!, position)}`)
  return 0
}
