import { createHash } from "node:crypto"
import { type TarEntry, tarParts } from "./tar.ts"

export type Architecture = "amd64" | "arm64"

export interface ImageSettings {
  /** "podside:dev" */
  reference: string
  architecture: Architecture
  entrypoint: readonly string[]
  command?: readonly string[]
  environment?: Readonly<Record<string, string>>
  workingFolder?: string
  user?: string
  labels?: Readonly<Record<string, string>>
}

/** An archive in parts, in the order they are written, and the digest of the image's manifest. */
export interface ImageArchive {
  parts: readonly Uint8Array[]
  digest: string
}

interface Blob {
  digest: string
  size: number
  parts: readonly Uint8Array[]
}

const type = "application/vnd.oci.image"

/**
 * An image with one layer as a tar that is an OCI layout (`ctr images import`, `skopeo`, new `docker load`) and carries
 * Docker's older `manifest.json` too (any `docker load`). Equal input gives equal bytes.
 * Source: OCI image specification 1.1: image-layout.md, manifest.md, config.md, layer.md, annotations.md.
 */
export function imageArchive(settings: ImageSettings, entries: readonly TarEntry[]): ImageArchive {
  const layer = blob(tarParts(entries))
  const config = json({
    architecture: settings.architecture,
    os: "linux",
    config: {
      Entrypoint: settings.entrypoint,
      Cmd: settings.command ?? [],
      Env: Object.entries(settings.environment ?? {}).map(([name, value]) => `${name}=${value}`),
      WorkingDir: settings.workingFolder ?? "/",
      User: settings.user ?? "",
      Labels: settings.labels ?? {},
    },
    rootfs: { type: "layers", diff_ids: [layer.digest] },
  })
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${type}.manifest.v1+json`,
    config: descriptor(`${type}.config.v1+json`, config),
    layers: [descriptor(`${type}.layer.v1.tar`, layer)],
  })
  const index = json({
    schemaVersion: 2,
    mediaType: `${type}.index.v1+json`,
    manifests: [
      {
        ...descriptor(`${type}.manifest.v1+json`, manifest),
        platform: { architecture: settings.architecture, os: "linux" },
        annotations: {
          "io.containerd.image.name": fullReference(settings.reference),
          "org.opencontainers.image.ref.name": settings.reference.split(":").at(-1),
        },
      },
    ],
  })
  const docker = json([{ Config: pathOf(config), RepoTags: [settings.reference], Layers: [pathOf(layer)] }])
  const file = (name: string, content: Blob) => ({ name, content: Buffer.concat(content.parts), mode: 0o644 })
  const parts = tarParts([
    file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
    file("index.json", index),
    file("manifest.json", docker),
    { name: "blobs" },
    { name: "blobs/sha256" },
    ...[config, manifest, layer].map((each) => file(pathOf(each), each)),
  ])
  return { parts, digest: manifest.digest }
}

/** The name the container runtime of a cluster looks for: without a host the reference is Docker Hub's. */
function fullReference(reference: string): string {
  const [first = "", ...rest] = reference.split("/")
  if (rest.length > 0 && (/[.:]/.test(first) || first === "localhost")) return reference
  return `docker.io/${rest.length === 0 ? "library/" : ""}${reference}`
}

function blob(parts: readonly Uint8Array[]): Blob {
  const hash = createHash("sha256")
  for (const part of parts) hash.update(part)
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  return { digest: `sha256:${hash.digest("hex")}`, size, parts }
}

function json(value: unknown): Blob {
  return blob([Buffer.from(JSON.stringify(value))])
}

function descriptor(mediaType: string, { digest, size }: Blob) {
  return { mediaType, digest, size }
}

function pathOf({ digest }: Blob): string {
  return `blobs/${digest.replace(":", "/")}`
}
