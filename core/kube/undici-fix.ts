import { fileURLToPath } from "node:url"
import type { BunPlugin } from "bun"

const replacement = fileURLToPath(new URL("./undici.ts", import.meta.url))

/**
 * `@kubernetes/client-node` hands its CA, client certificate and proxy to `fetch` of undici as a dispatcher. Bun answers
 * `import "undici"` with a built-in that ignores dispatchers, so none of the three would have any effect, silently. This
 * plugin points the library at `undici.ts` instead. The same object serves as preload of `bun run` and `bun test`
 * (`preload.ts`) and in the build, because a built-in module can be replaced at neither place by its name alone.
 */
export const clientNodeFix: BunPlugin = {
  name: "client-node-undici",
  setup(build) {
    build.onLoad({ filter: /@kubernetes[\\/]client-node[\\/]dist[\\/].*\.js$/ }, async ({ path }) => ({
      loader: "js",
      contents: (await Bun.file(path).text()).replaceAll(
        /from (['"])undici\1/g,
        () => `from ${JSON.stringify(replacement)}`,
      ),
    }))
  },
}
