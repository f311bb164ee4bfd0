import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { AppError } from "../../core/errors.ts"
import { hasImage, importImageFile } from "./images.ts"
import { defaultName } from "./layout.ts"
import { must } from "./run.ts"
import { cannotRun, type Say, up } from "./up.ts"

/** A cluster the tests may use as its administrator: one of ours, or one that was named with an environment variable. */
export interface Connection {
  /** Kubeconfig file of the administrator, with one context. */
  kubeconfig: string
  /** Where users' kubeconfig files may be kept. */
  usersFolder: string
  /** True for a cluster of ours, whose processes and folder this machine has. */
  own: boolean
  /** Address of this machine that the cluster's pods and API server reach; empty where it is not known. */
  hostAddress: string
  importImage(path: string): Promise<void>
}

const importSeconds = 300

/** The kubeconfig file of somebody else's cluster, or null: such a cluster is never used unasked. */
function named(): string | null {
  return process.env["PODSIDE_TEST_KUBECONFIG"] || null
}

/** Null where tests can have a cluster, else why not. */
export function noClusterReason(): string | null {
  return named() === null ? cannotRun() : null
}

/** Brings the tests' cluster up (nothing to do when it runs), or connects to the named one. */
export async function connect(say: Say): Promise<Connection> {
  const foreign = named()
  return foreign === null ? connectOwn(say) : connectForeign(foreign)
}

async function connectOwn(say: Say): Promise<Connection> {
  const layout = await up(defaultName, say)
  return {
    kubeconfig: join(layout.folder, "admin.kubeconfig"),
    usersFolder: join(layout.folder, "users"),
    own: true,
    hostAddress: layout.hostAddress,
    async importImage(path) {
      // A mark for each content spares the second import, which would copy the whole image again.
      const content = createHash("sha256")
        .update(new Uint8Array(await Bun.file(path).arrayBuffer()))
        .digest("hex")
      const mark = join(layout.folder, "imported", content)
      if (existsSync(mark) && (await hasImage(layout, await Bun.file(mark).text()))) return
      const reference = await importImageFile(layout, path)
      mkdirSync(join(layout.folder, "imported"), { recursive: true })
      const marks = new Bun.Glob("*").scanSync(join(layout.folder, "imported"))
      // Only the newest content of a reference is in the cluster.
      for (const other of marks) {
        const file = join(layout.folder, "imported", other)
        if ((await Bun.file(file).text()) === reference) rmSync(file, { force: true })
      }
      await Bun.write(mark, reference)
    },
  }
}

async function connectForeign(kubeconfig: string): Promise<Connection> {
  const folder = mkdtempSync(join(tmpdir(), "podside-test-"))
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }))
  const context = process.env["PODSIDE_TEST_CONTEXT"]
  const chosen = context ? ["--context", context] : []
  const text = await must(["kubectl", "config", "view", "--raw", "--minify", "--flatten", ...chosen], {
    env: { KUBECONFIG: kubeconfig },
  })
  const file = join(folder, "admin.kubeconfig")
  await Bun.write(file, text, { mode: 0o600 })
  return {
    kubeconfig: file,
    usersFolder: join(folder, "users"),
    own: false,
    hostAddress: process.env["PODSIDE_TEST_HOST_ADDRESS"] ?? "",
    async importImage(path) {
      const command = process.env["PODSIDE_TEST_IMPORT"]
      if (!command) {
        throw new AppError("cannot-import", `The tests need the image ${path} in the cluster of ${kubeconfig}`, {
          next: 'Set PODSIDE_TEST_IMPORT to the command that takes an image archive, e.g. "kind load image-archive".',
        })
      }
      await must([...command.split(/\s+/), path], { timeoutSeconds: importSeconds })
    },
  }
}
