import { join } from "node:path"
import { type Architecture, type ImageSettings, imageArchive } from "../../config/build/oci-image.ts"
import type { TarEntry } from "../../config/build/tar.ts"
import { AppError } from "../../core/errors.ts"
import { pauseImage } from "./components.ts"
import type { Layout } from "./layout.ts"
import { must, run } from "./run.ts"

/** Architecture of this machine, as images name it. */
const architecture: Architecture = process.arch === "arm64" ? "arm64" : "amd64"

/** An image for this machine, as the bytes of its archive. */
export function imageBytes(settings: Omit<ImageSettings, "architecture">, entries: TarEntry[]): Uint8Array {
  return Buffer.concat(imageArchive({ ...settings, architecture }, entries).parts)
}

/** `ctr` on the cluster's own containerd, from the host. */
export function containerd(layout: Layout, ...args: string[]): string[] {
  return ["ctr", "--address", join(layout.folder, "run/containerd/containerd.sock"), "--namespace", "k8s.io", ...args]
}

/**
 * Imports an image in OCI layout (a tar) under its own reference and returns that reference.
 * @throws AppError "image-refused"
 */
export async function importImageFile(layout: Layout, path: string): Promise<string> {
  const index = await run(["tar", "-xOf", path, "index.json"])
  const reference = index.code === 0 ? referenceOf(index.stdout) : null
  if (reference === null) {
    throw new AppError("image-refused", `${path} is no image in OCI layout with a reference`, {
      next: "Write the tar with the annotation org.opencontainers.image.ref.name in its index.json.",
    })
  }
  await must(containerd(layout, "images", "import", path), { timeoutSeconds: 120 })
  const full = fullReference(reference)
  if (full !== reference) await must(containerd(layout, "images", "tag", "--force", reference, full))
  return reference
}

function referenceOf(index: string): string | null {
  try {
    const annotations = JSON.parse(index).manifests[0].annotations
    return annotations["io.containerd.image.name"] ?? annotations["org.opencontainers.image.ref.name"] ?? null
  } catch {
    return null
  }
}

/** The kubelet asks for `docker.io/library/NAME` when a pod says `NAME`. Source: distribution/reference, normalize.go. */
function fullReference(reference: string): string {
  const [first = "", ...rest] = reference.split("/")
  if (rest.length === 0) return `docker.io/library/${reference}`
  return /[.:]/.test(first) || first === "localhost" ? reference : `docker.io/${reference}`
}

/** Whether the cluster's containerd has an image under this reference. */
export async function hasImage(layout: Layout, reference: string): Promise<boolean> {
  const list = await run(containerd(layout, "images", "list", "--quiet", `name==${fullReference(reference)}`))
  return list.stdout.trim() !== ""
}

/** The image that keeps a pod's namespaces. */
export async function importPauseImage(layout: Layout, pauseProgram: string): Promise<void> {
  if (await hasImage(layout, pauseImage)) return
  const content = new Uint8Array(await Bun.file(pauseProgram).arrayBuffer())
  const file = join(layout.folder, "pause.tar")
  await Bun.write(file, imageBytes({ reference: pauseImage, entrypoint: ["/pause"] }, [{ name: "pause", content }]))
  await importImageFile(layout, file)
}
