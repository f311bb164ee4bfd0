import * as v from "valibot"
import type { Config } from "../../../../config/load.ts"
import { agent as agentSchema } from "../../../../config/schema/agent.ts"

/** What of the section is about the client, whoever makes the agents. */
const ofTheClient: ReadonlySet<string> = new Set(["communication_timeout"])

/** One line about what the configuration says of agents, which are the operator's to make; undefined when it says nothing. */
export function ignoredSettings({ agent }: Pick<Config, "agent">): string | undefined {
  const usual: Record<string, unknown> = v.parse(agentSchema, {})
  const changed = Object.entries(agent)
    .filter(([key, value]) => !ofTheClient.has(key) && !Bun.deepEquals(value, usual[key]))
    .map(([key]) => `"agent.${key}"`)
  if (changed.length === 0) return undefined
  return `The operator makes the agents: ${changed.join(", ")} ${changed.length === 1 ? "makes" : "make"} no difference`
}
