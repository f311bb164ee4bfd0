import { configJsonSchema } from "../../../config/json-schema.ts"
import type { RunCommand } from "../../cli/command.ts"

export const run: RunCommand = async () => {
  process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`)
  return 0
}
