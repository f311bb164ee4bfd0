import { afterAll, beforeAll, expect, test } from "bun:test"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { FileRequest, FileResponse, OpenOptions } from "../../core/protocol/index.ts"
import { startAgent, type TestAgent, type TestClient, within } from "../test-agent.ts"

/* The target's root folder is a folder of the test; beside it lies what must never be reached. */

const isRoot = process.getuid?.() === 0
if (!isRoot) console.warn("SKIPPED: files are tested behind a chroot in a mount namespace, which need root")
const when = test.skipIf(!isRoot)

let folder: string
let root: string
let target: Bun.Subprocess<"pipe", "pipe", "inherit">
let agent: TestAgent
let client: TestClient

beforeAll(async () => {
  if (!isRoot) return
  folder = mkdtempSync(join(tmpdir(), "podside-files-"))
  root = join(folder, "root")
  for (const name of ["usr", "proc", "app/data", "mounted"]) mkdirSync(join(root, name), { recursive: true })
  for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name))
  writeFileSync(join(folder, "secret"), "of the host")
  writeFileSync(join(root, "app/hello"), "hello\n")
  const setup = `cd ${root} && mount --bind /usr usr && mount --bind /proc proc && mount -t tmpfs -o nosuid,size=1M,nr_inodes=100 tmpfs mounted &&
    echo inside > mounted/file && echo ready && exec chroot . /bin/cat`
  target = Bun.spawn(["unshare", "--mount", "sh", "-c", setup], { stdin: "pipe", stdout: "pipe" })
  await target.stdout.getReader().read()
  // The line before comes from the shell; its root changes with the exec that follows.
  while (readlinkSync(`/proc/${target.pid}/root`) === "/") await Bun.sleep(5)
  agent = await startAgent(["process", "--pid", `${target.pid}`])
  client = await agent.connect()
})
afterAll(async () => {
  if (!isRoot) return
  await agent.stop()
  target.kill()
  await target.exited
  rmSync(folder, { recursive: true })
})

const reading: OpenOptions = {
  read: true,
  write: false,
  append: false,
  truncate: false,
  create: false,
  createNew: false,
}
const writing: OpenOptions = { ...reading, read: false, write: true, create: true }

type Kind = FileRequest["kind"]
type Value<K extends Kind> = Extract<FileRequest, { kind: K }>["value"]

// biome-ignore lint/suspicious/noExplicitAny: answers of all kinds are compared with literals
type Told = any
/** The value of a good answer, or "errno kind", or the name of another refusal. */
async function ask<K extends Kind>(kind: K, value: Value<K>, from = client): Promise<Told> {
  return told(await from.file({ kind, value } as FileRequest))
}
function told(answer: FileResponse): Told {
  if (answer.value.kind === "Ok") return answer.value.value
  const error = answer.value.value
  return error.kind === "RemoteIO" ? `${error.value.rawOsError} ${error.value.kind.kind}` : error.kind
}
const open = async (path: string, openOptions: OpenOptions = reading) => ask("Open", { path, openOptions })
async function content(path: string): Promise<string> {
  const opened = await open(path)
  if (typeof opened === "string") return opened
  const { bytes } = await ask("Read", { remoteFd: opened.fd, bufferSize: 1000n })
  client.send({ kind: "FileRequest", value: { kind: "Close", value: { fd: opened.fd } } })
  return Buffer.from(bytes).toString()
}

const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text))

when("reads a file piece by piece, from anywhere, and to its end", async () => {
  const { fd } = await open("/app/hello")
  expect(await ask("Read", { remoteFd: fd, bufferSize: 2n })).toMatchObject({
    bytes: bytesOf("he"),
    readAmount: 2n,
  })
  expect(await ask("ReadLimited", { remoteFd: fd, bufferSize: 9n, startFrom: 4n })).toMatchObject({ readAmount: 2n })
  expect(await ask("Read", { remoteFd: fd, bufferSize: 128_000n })).toMatchObject({ bytes: bytesOf("llo\n") })
  expect(await ask("Read", { remoteFd: fd, bufferSize: 128_000n })).toMatchObject({ readAmount: 0n })
  expect(await ask("Seek", { fd, seekFrom: { kind: "End", value: -1n } })).toEqual({ resultOffset: 5n })
  expect(await ask("Seek", { fd, seekFrom: { kind: "Current", value: -4n } })).toEqual({ resultOffset: 1n })
  expect(await ask("Seek", { fd, seekFrom: { kind: "Start", value: 3n } })).toEqual({ resultOffset: 3n })
  expect(await ask("Seek", { fd, seekFrom: { kind: "End", value: -100n } })).toBe("22 InvalidInput")
  expect(await ask("Seek", { fd, seekFrom: { kind: "Start", value: 2n ** 64n - 1n } })).toBe("22 InvalidInput")
})

when("an absurd size to read gives what there is", async () => {
  const { fd } = await open("/app/hello")
  expect(await ask("Read", { remoteFd: fd, bufferSize: 2n ** 64n - 1n })).toMatchObject({ readAmount: 6n })
  expect(await ask("ReadLimited", { remoteFd: fd, bufferSize: 1n, startFrom: 2n ** 64n - 1n })).toBe("22 InvalidInput")
})

when("descriptors count from 0 for each client, are never used again, and unknown ones are told", async () => {
  const other = await agent.connect()
  const openHello = () => ask("Open", { path: "/app/hello", openOptions: reading }, other)
  expect(await openHello()).toEqual({ fd: 0n })
  const close = { kind: "FileRequest", value: { kind: "Close", value: { fd: 0n } } } as const
  other.send(close, close, { kind: "FileRequest", value: { kind: "CloseDir", value: { remoteFd: 77n } } })
  expect(await openHello()).toEqual({ fd: 1n })
  expect(await ask("Read", { remoteFd: 0n, bufferSize: 1n }, other)).toBe("NotFound")
  expect(await ask("ReadDir", { remoteFd: 1n }, other)).toBe("NotFound")
  expect(await ask("FdOpenDir", { remoteFd: 1n }, other)).toBe("NotDirectory")
  expect(await ask("Fchmod", { fd: 2n ** 64n - 1n, mode: 0 }, other)).toBe("NotFound")
})

when.each([
  ["of a file that is not there", "/app/none", "2 NotFound"],
  ["through a file", "/app/hello/x", "20 NotADirectory"],
  ["of a file with a slash behind it", "/app/hello/", "20 NotADirectory"],
  ["of a name that is too long", `/${"x".repeat(300)}`, "36 InvalidFilename"],
  ["of a path with a NUL", "/app/hello\0/etc/passwd", "22 InvalidInput"],
])("opening %s fails as the kernel says", async (_, path, error) => {
  expect(await open(path)).toBe(error)
})

when("opening knows its modes", async () => {
  const path = "/app/data/modes"
  expect(await open(path, { ...writing, create: false })).toBe("2 NotFound")
  const { fd } = await open(path, writing)
  expect(await ask("Write", { fd, writeBytes: Buffer.from("abcdef") })).toEqual({ writtenAmount: 6n })
  expect(await ask("WriteLimited", { remoteFd: fd, startFrom: 1n, writeBytes: Buffer.from("XY") })).toEqual({
    writtenAmount: 2n,
  })
  expect(await content(path)).toBe("aXYdef")
  expect(await open(path, { ...writing, createNew: true })).toBe("17 AlreadyExists")
  const appending = await open(path, { ...reading, append: true })
  await ask("Write", { fd: appending.fd, writeBytes: Buffer.from("!") })
  expect(await content(path)).toBe("aXYdef!")
  await open(path, { ...writing, truncate: true })
  expect(await content(path)).toBe("")
  expect(await open(path, { ...reading, read: false })).toBe("22 InvalidInput")
  expect(await open(path, { ...reading, truncate: true })).toBe("22 InvalidInput")
  expect(await open(path, { ...writing, append: true, truncate: true })).toBe("22 InvalidInput")
  expect(await open(`${path}-new`, { ...writing, append: true, truncate: true, createNew: true })).toEqual({
    fd: expect.any(BigInt),
  })
  expect(await open("/app", writing)).toBe("21 IsADirectory")
  expect(statSync(join(root, path)).mode & 0o777).toBe(0o666 & ~process.umask())
})

when("a file that is written keeps size, owner, mode and times it is given", async () => {
  const { fd } = await open("/app/data/attributes", writing)
  expect(await ask("Ftruncate", { fd, length: 10n })).toBeNull()
  expect(await ask("Ftruncate", { fd, length: -1n })).toBe("22 InvalidInput")
  expect(await ask("Fchmod", { fd, mode: 0o640 })).toBeNull()
  expect(await ask("Fchown", { fd, owner: 1234, group: 0xffffffff })).toBeNull()
  const times = [
    { tvSec: 1000n, tvNsec: 5n },
    { tvSec: 2000n, tvNsec: 6n },
  ] as const
  expect(await ask("Futimens", { fd, times: [...times] as never })).toBeNull()
  const { metadata } = await ask("Xstat", { path: null, fd, followSymlink: true })
  expect(metadata).toMatchObject({
    size: 10n,
    mode: 0o100640,
    userId: 1234,
    groupId: 0,
    accessTime: 1_000_000_000_005n,
    modificationTime: 2_000_000_000_006n,
  })
  expect(await ask("Futimens", { fd, times: null })).toBeNull()
  expect((await ask("Xstat", { path: null, fd, followSymlink: true })).metadata.modificationTime).toBeGreaterThan(
    10n ** 18n,
  )
})

when("stat tells what the kernel tells, of links and of what they mean", async () => {
  symlinkSync("hello", join(root, "app/link"))
  const real = statSync(join(root, "app/hello"), { bigint: true })
  const { metadata } = await ask("Xstat", { path: "/app/link", fd: null, followSymlink: true })
  expect(metadata).toEqual({
    deviceId: real.dev,
    inode: real.ino,
    mode: Number(real.mode),
    hardLinks: real.nlink,
    userId: Number(real.uid),
    groupId: Number(real.gid),
    rdeviceId: real.rdev,
    size: real.size,
    accessTime: real.atimeNs,
    modificationTime: real.mtimeNs,
    creationTime: real.ctimeNs,
    blockSize: real.blksize,
    blocks: real.blocks,
  })
  const link = await ask("Xstat", { path: "/app/link", fd: null, followSymlink: false })
  expect(link.metadata.mode & 0o170000).toBe(0o120000)
  expect(await ask("Xstat", { path: null, fd: null, followSymlink: true })).toBe("22 InvalidInput")
  const { fd } = await open("/app")
  expect((await ask("Xstat", { path: "hello", fd, followSymlink: true })).metadata.inode).toBe(real.ino)
  const device = statSync("/usr/../dev/null", { bigint: true })
  expect(device.rdev).toBe(259n)
})

when("file systems tell their size, in both forms and by both ways", async () => {
  const { fd } = await open("/app/hello")
  const v1 = (await ask("XstatFs", { fd })).metadata
  expect((await ask("StatFs", { path: "/app" })).metadata.filesystemType).toBe(v1.filesystemType)
  const v2 = (await ask("StatFsV2", { path: "/app" })).metadata
  expect(v2).toMatchObject({ blocks: v1.blocks, nameLen: 255n })
  expect((await ask("XstatFsV2", { fd })).metadata.filesystemId).toEqual(v2.filesystemId)
  expect((await ask("StatFs", { path: "/mounted" })).metadata.filesystemType).toBe(0x01021994n)
  // One that nothing changes meanwhile, of which every number is another.
  const at = join(`/proc/${target.pid}/root`, "mounted")
  const told = Bun.spawnSync(["stat", "--file-system", "--format", "%t %s %b %f %a %c %d %i %l %S", at]).stdout
  const [type, blockSize, blocks, blocksFree, blocksAvailable, files, filesFree, id, nameLen, fragmentSize] = told
    .toString()
    .trim()
    .split(" ")
  const old = {
    filesystemType: BigInt(`0x${type}`),
    blockSize: BigInt(blockSize!),
    blocks: BigInt(blocks!),
    blocksFree: BigInt(blocksFree!),
    blocksAvailable: BigInt(blocksAvailable!),
    files: BigInt(files!),
    filesFree: BigInt(filesFree!),
  }
  expect(new Set([old.blocks, old.blocksFree, old.files, old.filesFree]).size).toBe(4)
  expect((await ask("StatFs", { path: "/mounted" })).metadata).toEqual(old)
  const { filesystemId, flags, ...told2 } = (await ask("StatFsV2", { path: "/mounted" })).metadata
  expect(told2).toEqual({ ...old, nameLen: BigInt(nameLen!), fragmentSize: BigInt(fragmentSize!) })
  const [low, high] = filesystemId.map((half: number) => BigInt.asUintN(32, BigInt(half)))
  expect(((low << 32n) | high).toString(16)).toBe(BigInt(`0x${id}`).toString(16))
  // ST_NOSUID, and that the flags mean something at all.
  expect(flags & 0x22n).toBe(0x22n)
})

when("access asks for permissions, existence included", async () => {
  expect(await ask("Access", { pathname: "/app/hello", mode: 4 })).toEqual({})
  expect(await ask("Access", { pathname: "/app/hello", mode: 1 })).toBe("13 PermissionDenied")
  expect(await ask("Access", { pathname: "/app/none", mode: 0 })).toBe("2 NotFound")
})

when("a folder keeps owner, mode and times it is given, and is no file", async () => {
  mkdirSync(join(root, "app/kept"))
  const { fd } = await open("/app/kept")
  expect(await ask("Fchmod", { fd, mode: 0o711 })).toBeNull()
  expect(await ask("Fchown", { fd, owner: 1234, group: 0xffffffff })).toBeNull()
  const time = { tvSec: 3000n, tvNsec: 7n }
  expect(await ask("Futimens", { fd, times: [time, time] })).toBeNull()
  expect((await ask("Xstat", { path: null, fd, followSymlink: true })).metadata).toMatchObject({
    mode: 0o040711,
    userId: 1234,
    modificationTime: 3_000_000_000_007n,
  })
  expect(await ask("Ftruncate", { fd, length: 0n })).toBe("NotFile")
})

when("links are read, files are not links", async () => {
  symlinkSync("/app/hello", join(root, "app/absolute"))
  expect(await ask("ReadLink", { path: "/app/absolute" })).toEqual({ path: "/app/hello" })
  expect(await ask("ReadLink", { path: "/app/hello" })).toBe("22 InvalidInput")
  expect(await ask("ReadLink", { path: "app/absolute" })).toBe("StripPrefix")
})

when("folders are made, renamed and removed", async () => {
  expect(await ask("MakeDir", { pathname: "/app/made", mode: 0o750 })).toBeNull()
  expect(statSync(join(root, "app/made")).mode & 0o777).toBe(0o750)
  expect(await ask("MakeDir", { pathname: "/app/made/", mode: 0o750 })).toBe("17 AlreadyExists")
  const { fd } = await open("/app/made")
  expect(await ask("MakeDirAt", { dirfd: fd, pathname: "inner", mode: 0o700 })).toBeNull()
  expect(await ask("RemoveDir", { pathname: "/app/made" })).toBe("39 DirectoryNotEmpty")
  expect(await ask("Rename", { oldPath: "/app/made/inner", newPath: "/app/moved" })).toBeNull()
  expect(await ask("UnlinkAt", { dirfd: null, pathname: "/app/moved", flags: 0x200 })).toBeNull()
  writeFileSync(join(root, "app/made/file"), "")
  expect(await ask("UnlinkAt", { dirfd: fd, pathname: "file", flags: 7 })).toBe("22 InvalidInput")
  expect(await ask("UnlinkAt", { dirfd: fd, pathname: "file", flags: 0 })).toBeNull()
  expect(await ask("Unlink", { pathname: "/app/made" })).toBe("21 IsADirectory")
  expect(await ask("RemoveDir", { pathname: "/app/made" })).toBeNull()
  expect(existsSync(join(root, "app/made"))).toBe(false)
})

when("a folder is listed by every way a client has", async () => {
  const path = join(root, "app/many")
  mkdirSync(path)
  const names = Array.from({ length: 700 }, (_, index) => `file-${index}`)
  for (const name of names) writeFileSync(join(path, name), "")
  const { fd: folderFd } = await open("/app/many")
  expect(await ask("Read", { remoteFd: folderFd, bufferSize: 1n })).toBe("NotFile")
  const { fd } = await ask("FdOpenDir", { remoteFd: folderFd })
  const first = (await ask("ReadDir", { remoteFd: fd })).direntry
  expect(first).toMatchObject({ position: 0n, fileType: 8 })
  const listed = [first.name]
  for (;;) {
    const { dirEntries } = await ask("ReadDirBatch", { remoteFd: fd, amount: 128n })
    if (dirEntries.length === 0) break
    listed.push(...dirEntries.map((entry: { name: string }) => entry.name))
  }
  expect(listed.sort()).toEqual([...names].sort())
  expect(await ask("ReadDir", { remoteFd: fd })).toEqual({ direntry: null })

  const raw: { name: string; position: bigint }[] = []
  for (;;) {
    const { entries, resultSize } = await ask("GetDEnts64", { remoteFd: folderFd, bufferSize: 4096n })
    expect(resultSize).toBeLessThanOrEqual(4096n)
    if (entries.length === 0) break
    raw.push(...entries)
  }
  expect(raw.slice(0, 2).map(({ name }) => name)).toEqual([".", ".."])
  // That position is forgotten with the stream of the same number.
  client.send({ kind: "FileRequest", value: { kind: "CloseDir", value: { remoteFd: folderFd } } })
  expect((await ask("GetDEnts64", { remoteFd: folderFd, bufferSize: 48n })).entries).toMatchObject([
    { name: ".", position: 0n, fileType: 4 },
    { name: "..", position: 1n, fileType: 4 },
  ])
  expect(raw.map(({ position }) => position)).toEqual(raw.map((_, index) => BigInt(index)))
  expect(
    raw
      .slice(2)
      .map(({ name }) => name)
      .sort(),
  ).toEqual([...names].sort())
})

when("a named pipe without another end does not stop the agent", async () => {
  Bun.spawnSync(["mkfifo", join(root, "app/pipe"), join(root, "app/other-pipe")])
  expect(await open("/app/pipe")).toMatchObject({ fd: expect.any(BigInt) })
  expect(await open("/app/other-pipe", { ...writing, create: false })).toBe("6 Unknown")
})

when("a relative path where an absolute one belongs ends this client, and only it", async () => {
  const other = await agent.connect()
  await other.ask({ kind: "Ping" })
  other.send({ kind: "FileRequest", value: { kind: "Open", value: { path: "app/hello", openOptions: reading } } })
  expect(await other.closed()).toContain("app/hello")
  expect(await content("/app/hello")).toBe("hello\n")
})

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await Bun.sleep(1)
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return "closed meanwhile"
  }
}

when("a folder that is listed again and again takes no more descriptors of the agent", async () => {
  const other = await agent.connect()
  const { fd } = await ask("Open", { path: "/app", openOptions: reading }, other)
  const list = async () => {
    const { entries } = await ask("GetDEnts64", { remoteFd: fd, bufferSize: 4096n }, other)
    expect(entries).not.toHaveLength(0)
    const stream = await ask("FdOpenDir", { remoteFd: fd }, other)
    expect((await ask("ReadDir", { remoteFd: stream.fd }, other)).direntry).not.toBeNull()
    for (const remoteFd of [fd, stream.fd])
      other.send({ kind: "FileRequest", value: { kind: "CloseDir", value: { remoteFd } } })
    await other.ask({ kind: "Ping" })
  }
  await list()
  const before = readdirSync("/proc/self/fd").length
  for (let round = 0; round < 20; round++) await list()
  expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 10)
  other.link.close()
})

when("what a client opened is closed when it leaves", async () => {
  const other = await agent.connect()
  const openedNow = () =>
    readdirSync("/proc/self/fd").filter((fd) => linkOf(`/proc/self/fd/${fd}`).endsWith("/app")).length
  await other.ask({ kind: "Ping" })
  const before = openedNow()
  for (let index = 0; index < 50; index++) await ask("Open", { path: "/app", openOptions: reading }, other)
  expect(openedNow()).toBeGreaterThanOrEqual(before + 50)
  other.link.close()
  await other.link.ended
  await within(
    "the descriptors' end",
    until(() => openedNow() === before),
  )
})

// ---- nothing outside the root folder

/** Links (name to target) made in a folder of their own, and the path that is tried, from there or from the root. */
const escapes: [string, Record<string, string>, string][] = [
  ["dots", {}, "/../../../../../../../..$SECRET"],
  ["an absolute link", { absolute: "$SECRET" }, "absolute"],
  ["a link with dots", { dots: "../../../../../../../../..$SECRET" }, "dots"],
  ["a chain of links", { a: "b", b: "c", c: "$SECRET" }, "a"],
  ["a linked folder", { folder: "$SECRET/.." }, "folder/secret"],
  ["a link to the folder above", { folder: "$FOLDER" }, "folder/secret"],
  ["a link of /proc to another root", {}, `/proc/${process.pid}/root$SECRET`],
  ["a link of /proc to a working folder", {}, `/proc/${process.pid}/cwd/package.json`],
]

when.each(escapes)("%s: does not lead out of the target's root", async (name, links, path) => {
  const place = join("/escape", name.replaceAll(/\W/g, "-"))
  mkdirSync(join(root, place), { recursive: true })
  const real = (text: string) => text.replace("$SECRET", join(folder, "secret")).replace("$FOLDER", folder)
  for (const [link, to] of Object.entries(links)) symlinkSync(real(to), join(root, place, link))
  const answer = await content(path.startsWith("/") ? real(path) : join(place, path))
  expect(["2 NotFound", "20 NotADirectory", "40 FilesystemLoop"]).toContain(answer)
})

when("an absolute link means the target's own file, and mounts of the target are seen", async () => {
  symlinkSync("/app/hello", join(root, "own"))
  expect(await content("/own")).toBe("hello\n")
  expect(await content("/../../app/hello")).toBe("hello\n")
  expect(await content("/mounted/file")).toBe("inside\n")
})

when("writing, making, renaming and removing through a link stays inside, too", async () => {
  symlinkSync(folder, join(root, "out"))
  expect(await open("/out/new", writing)).toBe("2 NotFound")
  expect(await ask("MakeDir", { pathname: "/out/made", mode: 0o700 })).toBe("2 NotFound")
  expect(await ask("Unlink", { pathname: "/out/secret" })).toBe("2 NotFound")
  expect(await ask("Rename", { oldPath: "/app/hello", newPath: "/out/stolen" })).toBe("2 NotFound")
  expect(await ask("Rename", { oldPath: "/out/secret", newPath: "/app/stolen" })).toBe("2 NotFound")
  expect(readdirSync(folder).sort()).toEqual(["root", "secret"])
  // The link itself is removed, not what it points to.
  expect(await ask("Unlink", { pathname: "/out" })).toBeNull()
  expect(readFileSync(join(folder, "secret"), "utf8")).toBe("of the host")
})

when("a folder that is swapped for a link in the very moment leads nowhere else", async () => {
  const race = join(root, "race")
  mkdirSync(join(race, "place"), { recursive: true })
  writeFileSync(join(race, "place/secret"), "inside")
  symlinkSync(folder, join(race, "trap"))
  const swap =
    "while [ -e place ] || [ -L place ] || [ -e kept ]; do mv -T place kept; mv -T trap place; mv -T place trap; mv -T kept place; done"
  const swapping = Bun.spawn(["sh", "-c", swap], { cwd: race, stderr: "ignore" })
  const seen = new Set<string>()
  for (let round = 0; round < 1500; round++) seen.add(await content("/race/place/secret"))
  swapping.kill()
  await swapping.exited
  expect(seen).toContain("inside")
  expect(seen).not.toContain("of the host")
})
