import { afterEach, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { listenLinks, servingSide } from "../../link/index.ts"
import type { RoleContext } from "../../role.ts"
import { run } from "./exec.ts"

const undo: (() => void)[] = []
afterEach(() => {
  for (const step of undo.splice(0)) step()
})

/** An agent that answers what a start asks for. */
function agent(): string {
  const folder = mkdtempSync(join(tmpdir(), "podside-exec-"))
  const unix = join(folder, "agent.sock")
  const server = listenLinks(servingSide, { unix }, (link) =>
    link.receive((message) => {
      if (message.kind === "SwitchProtocolVersion")
        link.send({ kind: "SwitchProtocolVersionResponse", value: message.value })
      else if (message.kind === "GetEnvVarsRequest")
        link.send({ kind: "GetEnvVarsResponse", value: { kind: "Ok", value: new Map() } })
      else if (message.kind === "Ping") link.send({ kind: "Pong" })
    }),
  )
  undo.push(() => {
    server.stop(true)
    rmSync(folder, { recursive: true })
  })
  return `unix:${unix}`
}

/** Runs a program that ends when it is told to. @param whileStarting happens before it has been started */
async function start(whileStarting: (stop: AbortController) => void) {
  const stop = new AbortController()
  const killed: unknown[] = []
  const exited = Promise.withResolvers<number>()
  const engine = {
    unavailable: async () => undefined,
    restriction: async () => undefined,
    async launch() {
      whileStarting(stop)
      setTimeout(() => exited.resolve(0), 100)
      return {
        pid: 1,
        exited: exited.promise,
        kill(signal: unknown) {
          killed.push(signal)
          exited.resolve(143)
        },
      }
    },
  }
  const context = {
    stopOnSignals: () => stop.signal,
    leaveSignalsTo() {},
    startPlugins: async () => ({
      provide: () => engine,
      authorize: async () => ({ allow: true }),
      stop: async () => {},
    }),
  } as unknown as RoleContext
  const options = { agentAddress: agent(), progress: "off" }
  return { code: await run({ args: ["true"], options }, context), killed }
}

test("a program whose end was asked for while it was being started is ended, another runs on", async () => {
  expect(await start((stop) => stop.abort())).toEqual({ code: 143, killed: ["SIGTERM"] })
  expect(await start(() => {})).toEqual({ code: 0, killed: [] })
})
