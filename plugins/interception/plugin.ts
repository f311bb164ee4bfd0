import * as v from "valibot"
import type { Interceptor } from "../../core/interceptor.ts"
import { definePlugin } from "../../core/plugin.ts"

/** The agent's hold on a pod's incoming traffic and the client's hold on a program's system calls. Each side loads only itself. */
export default definePlugin({
  name: "interception",
  config: v.strictObject({}),
  agent: ({ log }) => ({
    provideInterceptor() {
      let loading: Promise<Interceptor> | undefined
      const load = () =>
        (loading ??= import("./agent/interceptor.ts").then(({ createInterceptor }) => createInterceptor(log)))
      return {
        open: async (options) => (await load()).open(options),
        findForeignRules: async (options) => (await load()).findForeignRules(options),
        exemptPort: async (options) => (await load()).exemptPort(options),
      }
    },
  }),
  client: () => ({
    provideEngine: () => ({
      async unavailable() {
        const { createEngine } = await import("./client/engine.ts")
        return createEngine().unavailable()
      },
      async restriction() {
        const { createEngine } = await import("./client/engine.ts")
        return createEngine().restriction()
      },
      async launch(options) {
        const { createEngine } = await import("./client/engine.ts")
        return createEngine().launch(options)
      },
    }),
  }),
})
