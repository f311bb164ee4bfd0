import { createHash } from "node:crypto"
import { existsSync, mkdirSync, renameSync } from "node:fs"
import { join } from "node:path"
import type { ImageSettings } from "../../../config/build/oci-image.ts"
import type { TarEntry } from "../../../config/build/tar.ts"
import { imageBytes } from "../images.ts"
import { cacheFolder } from "../layout.ts"

import { program } from "../programs.ts"

export interface SampleImage {
  reference: string
  settings: Omit<ImageSettings, "reference" | "architecture">
  entries(): TarEntry[]
}

const shellTools = "sh cat ls env sleep id ps head wc stat readlink touch mkdir rm mv test true false kill nc".split(
  " ",
)
const etcFiles: TarEntry[] = [
  {
    name: "etc/passwd",
    content: Buffer.from("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"),
    mode: 0o644,
  },
  { name: "etc/group", content: Buffer.from("root:x:0:\nuser:x:1000:\n"), mode: 0o644 },
]

/** The echo program (programs/sample) with a shell beside it. The shell is static and cannot resolve names: `sample` can. */
export const sampleImage: SampleImage = {
  reference: "podside.test/sample:1",
  settings: { entrypoint: ["/bin/sample"], command: ["serve"], environment: { SAMPLE_IMAGE: "1" } },
  entries: () => etcFiles,
}

const bigFileBytes = 8 << 20

/**
 * The sample with files a client must be able to read, or be refused, exactly as the container would:
 * `/data/links` (chains, absolute, dangling, a loop, one out of the root), `/data/big` (every 8 bytes: their offset),
 * `/data/secret` (only root's), `/data/names` (not UTF-8, blanks, a newline), `/data/many` (1000 entries).
 */
export const filesImage: SampleImage = {
  reference: "podside.test/files:1",
  settings: { entrypoint: ["/bin/sample"], command: ["serve"], user: "1000:1000", workingFolder: "/data" },
  entries: () => [
    ...etcFiles,
    { name: "data" },
    { name: "data/plain.txt", content: Buffer.from("plain\n"), mode: 0o644 },
    { name: "data/empty", content: new Uint8Array(), mode: 0o644 },
    { name: "data/big", content: bigFile(), mode: 0o644 },
    { name: "data/script", content: Buffer.from("#!/bin/sh\necho ran\n"), mode: 0o755 },
    { name: "data/secret", content: Buffer.from("only root reads this\n"), mode: 0o600 },
    { name: "data/closed", mode: 0o700 },
    { name: "data/closed/inside", content: Buffer.from("behind a closed folder\n"), mode: 0o644 },
    { name: "data/own", mode: 0o755, uid: 1000, gid: 1000 },
    { name: "data/links" },
    { name: "data/links/1", link: "2" },
    { name: "data/links/2", link: "../links/3" },
    { name: "data/links/3", link: "/data/plain.txt" },
    { name: "data/links/dangling", link: "nothing" },
    { name: "data/links/loop", link: "loop" },
    { name: "data/links/upwards", link: "../../../../../../etc/passwd" },
    { name: "data/links/folder", link: "/data/names" },
    { name: "data/names" },
    { name: Buffer.from("data/names/not-utf8-\xff\xfe", "latin1"), content: Buffer.from("bytes\n"), mode: 0o644 },
    { name: "data/names/with blank", content: Buffer.from("blank\n"), mode: 0o644 },
    { name: "data/names/with\nnewline", content: Buffer.from("newline\n"), mode: 0o644 },
    { name: "data/names/ünïcode-名前", content: Buffer.from("unicode\n"), mode: 0o644 },
    { name: "data/many" },
    ...Array.from({ length: 1000 }, (_, index) => ({
      name: `data/many/${String(index).padStart(4, "0")}`,
      content: Buffer.from(`${index}\n`),
      mode: 0o644,
    })),
  ],
}

function bigFile(): Uint8Array {
  const bytes = Buffer.alloc(bigFileBytes)
  for (let offset = 0; offset < bigFileBytes; offset += 8) bytes.writeUInt32BE(offset, offset + 4)
  return bytes
}

/** Writes the image's tar into the cache, once per content, and returns its path. */
export async function writeSampleImage(image: SampleImage): Promise<string> {
  const sample = await program("sample", (line) => process.stderr.write(`${line}\n`))
  const busybox = Bun.which("busybox")
  const read = async (path: string) => new Uint8Array(await Bun.file(path).arrayBuffer())
  const tools: TarEntry[] = busybox
    ? [
        { name: "bin/busybox", content: await read(busybox) },
        ...shellTools.map((tool) => ({ name: `bin/${tool}`, link: "busybox" })),
      ]
    : []
  const folders = ["bin", "etc", "proc", "sys", "dev", "root", "home", "home/user"].map((name) => ({ name }))
  const entries: TarEntry[] = [
    ...folders,
    { name: "tmp", mode: 0o1777 },
    { name: "bin/sample", content: await read(sample) },
    ...tools,
    ...image.entries(),
  ]
  const environment = { PATH: "/bin:/usr/bin", ...image.settings.environment }
  const tar = imageBytes({ reference: image.reference, ...image.settings, environment }, entries)
  const folder = join(cacheFolder(), "images")
  const path = join(folder, `${createHash("sha256").update(tar).digest("hex").slice(0, 16)}.tar`)
  if (existsSync(path)) return path
  mkdirSync(folder, { recursive: true })
  await Bun.write(`${path}.${process.pid}`, tar)
  renameSync(`${path}.${process.pid}`, path)
  return path
}
