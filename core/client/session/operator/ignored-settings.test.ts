import { expect, test } from "bun:test"
import { loadConfig } from "../../../../config/load.ts"
import { ignoredSettings } from "./ignored-settings.ts"

test.each<[sentence: string, environment: Record<string, string>, line: string | undefined]>([
  ["nothing is said of agents", {}, undefined],
  ["what is as ever is not worth a word", { MIRRORD_AGENT_TTL: "1" }, undefined],
  ["what the client itself goes by counts", { MIRRORD_AGENT_COMMUNICATION_TIMEOUT: "5" }, undefined],
  [
    "one is named",
    { MIRRORD_AGENT_IMAGE: "mine:1" },
    'The operator makes the agents: "agent.image" makes no difference',
  ],
  [
    "so are several",
    { MIRRORD_AGENT_NAMESPACE: "tools", MIRRORD_EPHEMERAL_CONTAINER: "true" },
    'The operator makes the agents: "agent.namespace", "agent.ephemeral" make no difference',
  ],
])("%s", async (_, environment, line) => {
  const { config } = await loadConfig({ environment: { MIRRORD_IMPERSONATED_TARGET: "pod/web", ...environment } })
  expect(ignoredSettings(config)).toBe(line!)
})
