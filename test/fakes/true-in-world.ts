import { AppError } from "../../core/errors.ts"
import { silentLogger } from "../../core/log.ts"
import { createEngine } from "../../plugins/interception/client/engine.ts"
import { rungHere } from "../../plugins/interception/client/launch/unavailable.ts"
import { MemoryFiles } from "./memory-files.ts"

/* Runs a program (default: `true`) in a small world, as a process of its own: bun true-in-world.ts [--user-namespace] [PROGRAM [ARGUMENT…]]. */

const words = process.argv.slice(2)
const userNamespace = words[0] === "--user-namespace"
const [command = "true", ...args] = userNamespace ? words.slice(1) : words
const files = new MemoryFiles({ files: { "/remote/a.txt": "hello from the pod\n" } })
const world = { files, hostname: async () => "the-pod" }
try {
  const env = Object.fromEntries(Object.entries(process.env).map(([name, value]) => [name, value ?? ""]))
  const engine = userNamespace ? createEngine(() => ({ ...rungHere(), userNamespace })) : createEngine()
  const program = await engine.launch({ command, args, cwd: "/", env, world, log: silentLogger })
  console.log(`ended with ${await program.exited}`)
  process.exit(0)
} catch (thrown) {
  console.log(thrown instanceof AppError ? `${thrown.code}: ${thrown.message}` : String(thrown))
  process.exit(1)
}
