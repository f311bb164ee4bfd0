import { createHash } from "node:crypto"

/** One entry of an image's only layer. Names are paths without a leading slash; bytes allow names that are not UTF-8. */
export interface ImageEntry {
  name: string | Uint8Array
  /** Content of a file. Without it and without `link` the entry is a folder. */
  content?: Uint8Array
  /** Where a symbolic link points. */
  link?: string
  /** Permission bits. Default 0o755. */
  mode?: number
  uid?: number
  gid?: number
}

export interface ImageSettings {
  reference: string
  entrypoint: string[]
  command?: string[]
  environment?: Record<string, string>
  workingFolder?: string
  user?: string
}

/**
 * An image as a tar in OCI layout, ready for an import; the same input gives the same bytes.
 * Source: OCI image specification 1.1, image-layout.md, manifest.md, config.md, layer.md.
 */
export function imageTar(settings: ImageSettings, entries: ImageEntry[]): Uint8Array {
  const layer = tar(entries)
  const config = json({
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: {
      Entrypoint: settings.entrypoint,
      Cmd: settings.command ?? [],
      Env: Object.entries({ PATH: "/bin:/usr/bin", ...settings.environment }).map(
        ([name, value]) => `${name}=${value}`,
      ),
      WorkingDir: settings.workingFolder ?? "/",
      User: settings.user ?? "",
    },
    rootfs: { type: "layers", diff_ids: [digest(layer)] },
  })
  const prefix = "application/vnd.oci.image"
  const descriptor = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: digest(bytes),
    size: bytes.length,
  })
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${prefix}.manifest.v1+json`,
    config: descriptor(`${prefix}.config.v1+json`, config),
    layers: [descriptor(`${prefix}.layer.v1.tar`, layer)],
  })
  const annotations = {
    "org.opencontainers.image.ref.name": settings.reference,
    "io.containerd.image.name": settings.reference,
  }
  const index = json({
    schemaVersion: 2,
    mediaType: `${prefix}.index.v1+json`,
    manifests: [{ ...descriptor(`${prefix}.manifest.v1+json`, manifest), annotations }],
  })
  const blobs = [layer, config, manifest].map((content) => ({
    name: `blobs/sha256/${digest(content).slice("sha256:".length)}`,
    content,
    mode: 0o644,
  }))
  return tar([
    { name: "oci-layout", content: json({ imageLayoutVersion: "1.0.0" }), mode: 0o644 },
    { name: "index.json", content: index, mode: 0o644 },
    ...blobs,
  ])
}

const blockBytes = 512
const longestName = 100

/**
 * A POSIX ustar archive with all times zero. Names and links longer than 100 bytes are not needed here and refused.
 * Header: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, checksum 148, type 156, link 157, "ustar\0" 257, "00" 263.
 */
function tar(entries: ImageEntry[]): Uint8Array {
  const parts: Uint8Array[] = []
  for (const entry of entries) {
    const header = Buffer.alloc(blockBytes)
    const size = entry.content?.length ?? 0
    const text = (value: string | Uint8Array, at: number) => {
      const bytes = Buffer.from(value as string)
      if (bytes.length > longestName) throw new RangeError(`too long for this tar writer: ${bytes.toString()}`)
      bytes.copy(header, at)
    }
    const octal = (value: number, at: number, width: number) =>
      header.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1")
    text(entry.name, 0)
    octal(entry.mode ?? 0o755, 100, 8)
    octal(entry.uid ?? 0, 108, 8)
    octal(entry.gid ?? 0, 116, 8)
    octal(size, 124, 12)
    octal(0, 136, 12)
    header.write(entry.link !== undefined ? "2" : entry.content !== undefined ? "0" : "5", 156, "latin1")
    if (entry.link !== undefined) text(entry.link, 157)
    header.write("ustar\x0000", 257, "latin1")
    header.fill(" ", 148, 156)
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      148,
      7,
    )
    parts.push(header)
    if (entry.content) parts.push(entry.content, new Uint8Array((blockBytes - (size % blockBytes)) % blockBytes))
  }
  parts.push(new Uint8Array(2 * blockBytes))
  return Buffer.concat(parts)
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}
