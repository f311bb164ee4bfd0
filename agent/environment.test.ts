import { expect, test } from "bun:test"
import { silentLogger } from "../core/log.ts"
import type { DaemonMessage } from "../core/protocol/index.ts"
import { createEnvironment, selectVariables } from "./environment.ts"
import type { AgentClient, AgentContext } from "./feature.ts"
import { startAgent } from "./test-agent.ts"

const variables = new Map([
  ["DB_HOST", "db"],
  ["DB_PASSWORD", "secret"],
  ["PATH", "/bin"],
  ["HOME", "/root"],
  ["GEM_HOME", "/gems"],
])
const names = (envVarsFilter: string[], envVarsSelect: string[]) => [
  ...selectVariables(variables, { envVarsFilter, envVarsSelect }).keys(),
]

test("an empty selection means everything but what describes the machine", () => {
  expect(names([], [])).toEqual(["DB_HOST", "DB_PASSWORD"])
})

test("the filter wins over the selection, and what is withheld over both", () => {
  expect(names(["*PASSWORD"], ["DB_*"])).toEqual(["DB_HOST"])
  expect(names([], ["PATH", "DB_HOST"])).toEqual(["DB_HOST"])
})

test("what describes the machine is withheld by its whole name only", () => {
  const described = `HOME HOMEPATH PATH PWD
    CATALINA_HOME CLASSPATH JAVA_EXE JAVA_HOME JAVA_TOOL_OPTIONS _JAVA_OPTIONS
    DOTNET_EnableDiagnostics DOTNET_STARTUP_HOOKS GOPATH GOMODCACHE PYTHONPATH
    GEM_HOME GEM_PATH RUBYLIB RUBYOPT BUNDLER_VERSION BUNDLE_APP_CONFIG BUNDLE_BIN_PATH BUNDLE_FORCE_RUBY_PLATFORM
    BUNDLE_GEMFILE BUNDLE_GEM_PATH BUNDLE_PATH BUNDLE_WITHOUT BUNDLER_ORIG_BUNDLER_ORIG_MANPATH
    BUNDLER_ORIG_BUNDLER_VERSION BUNDLER_ORIG_BUNDLE_BIN_PATH BUNDLER_ORIG_BUNDLE_GEMFILE BUNDLER_ORIG_GEM_HOME
    BUNDLER_ORIG_MANPATH BUNDLER_ORIG_PATH BUNDLER_ORIG_RB_USER_INSTALL BUNDLER_ORIG_RUBYLIB BUNDLER_ORIG_RUBYOPT
    MIRRORD_LOG RUST_LOG`.split(/\s+/)
  const all = new Map([...described, ...described.map((name) => `MY_${name}`)].map((name) => [name, "x"]))
  const told = [...selectVariables(all, { envVarsFilter: [], envVarsSelect: ["*", ...described] }).keys()]
  expect(told).toEqual(described.map((name) => `MY_${name}`))
})

test("the environment is that of the target's process", async () => {
  const env = { GREETING: "hello=world", PATH: process.env["PATH"] ?? "", RUST_LOG: "trace", EMPTY: "" }
  const target = Bun.spawn(["sleep", "600"], { env })
  const agent = await startAgent(["process", "--pid", `${target.pid}`])
  const client = await agent.connect()
  const answer = await client.ask({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["*"] } })
  expect(answer).toEqual({
    kind: "GetEnvVarsResponse",
    value: {
      kind: "Ok",
      value: new Map([
        ["GREETING", "hello=world"],
        ["EMPTY", ""],
      ]),
    },
  })
  await agent.stop()
  target.kill()
})

test("what the container was given fills what its process has overwritten; what the process has wins", async () => {
  const target = Bun.spawn(["sleep", "600"], { env: { KEPT: "by the process" } })
  const given = new Map([
    ["KEPT", "by the container"],
    ["LOST", "in the process"],
    ["PATH", "/bin"],
  ])
  const surroundings = { environmentOf: target.pid, baseEnvironment: Promise.resolve(given) }
  const feature = createEnvironment({ surroundings, log: silentLogger } as unknown as AgentContext)
  const answer = Promise.withResolvers<DaemonMessage>()
  const client = { send: answer.resolve } as unknown as AgentClient
  feature.serve(client).handle({ kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: [] } })
  expect(await answer.promise).toMatchObject({
    value: {
      kind: "Ok",
      value: new Map([
        ["KEPT", "by the process"],
        ["LOST", "in the process"],
      ]),
    },
  })
  target.kill()
})
