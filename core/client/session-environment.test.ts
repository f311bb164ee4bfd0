import { expect, test } from "bun:test"
import { loadConfig } from "../../config/load.ts"
import type { OptionValues } from "../cli/command.ts"
import { inTermsOfOptions, sessionEnvironment } from "./session-environment.ts"

const failure = (options: OptionValues, base: Record<string, string> = {}) =>
  loadConfig({ environment: sessionEnvironment(options, base) }).then(
    () => undefined,
    (thrown) => inTermsOfOptions(thrown, options) as Error,
  )

test("a wrong value of an option is told of the option, one of a variable of the variable", async () => {
  expect(await failure({ agentTtl: "soon" })).toMatchObject({
    message: "The option --agent-ttl must be a whole number",
    exitCode: 2,
  })
  expect(await failure({ acceptInvalidCertificates: "maybe" })).toMatchObject({
    message: "The option --accept-invalid-certificates must be true or false",
  })
  expect(await failure({ agentTtl: "5" }, { MIRRORD_AGENT_STARTUP_TIMEOUT: "soon" })).toMatchObject({
    message: "The environment variable MIRRORD_AGENT_STARTUP_TIMEOUT must be a whole number",
  })
  expect(await failure({ agentTtl: "5" })).toBeUndefined()
})

test("a file is not blamed alone for what an option has put over it", async () => {
  const file = `/tmp/podside-blame-${process.pid}.json`
  await Bun.write(file, JSON.stringify({ target: "nonsense" }))
  try {
    const message = async (options: OptionValues) => (await failure({ configFile: file, ...options }))?.message
    expect(await message({})).toStartWith(`${file} is not valid: "target.path"`)
    expect(await message({ target: "pod/" })).toStartWith(`${file}, with options and variables over it, is not valid`)
  } finally {
    await Bun.file(file).delete()
  }
})
