import { statSync } from "node:fs"
import { join } from "node:path"
import { cacheFolder } from "./layout.ts"
import { withLock } from "./lock.ts"
import { must } from "./run.ts"

const root = join(import.meta.dir, "../..")
const path = join(root, "dist/podside-image.tar")
const reference = "podside:dev"

/** The image `npm run image` makes, made again when a source is newer. Several test processes may ask at once. */
export async function podsideImage(): Promise<{ path: string; reference: string }> {
  await withLock(
    join(cacheFolder(), "locks", "podside-image.lock"),
    600,
    () => {},
    async () => {
      if (modified(path) < newestSource())
        await must(["npm", "run", "--silent", "image"], { cwd: root, timeoutSeconds: 300 })
    },
  )
  return { path, reference }
}

function newestSource(): number {
  const sources = new Bun.Glob("{core,agent,plugins,config}/**/*").scanSync(root)
  const files = [...sources].filter((file) => !file.endsWith(".test.ts"))
  return Math.max(...[...files, "build.ts", "package-lock.json"].map((file) => modified(join(root, file))))
}

/** Milliseconds since 1970; 0 when the file does not exist. */
function modified(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
