import * as v from "valibot"
import { definePlugin } from "../../core/plugin.ts"

/** The agent's hold on a pod's incoming traffic and the client's hold on a program's system calls. Each side loads only itself. */
export default definePlugin({
  name: "interception",
  config: v.strictObject({}),
  agent: ({ log }) => ({
    provideInterceptor: () => ({
      async open(options) {
        const { createInterceptor } = await import("./agent/interceptor.ts")
        return createInterceptor(log).open(options)
      },
    }),
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
