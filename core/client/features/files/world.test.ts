import { afterEach, expect, test } from "bun:test"
import { until } from "../../../../test/until.ts"
import { linkPair } from "../../../link/index.ts"
import { silentLogger } from "../../../log.ts"
import type { DaemonMessage, FileMetadata, FileRequest, FileResponse } from "../../../protocol/index.ts"
import { Conversation } from "../../conversation.ts"
import { OpenLocally } from "../../engine.ts"
import { createFileWorld } from "./world.ts"

const at = {
  home: "/home/ann",
  temporaryDirectory: "/tmp",
  workingDirectory: "/project",
  executable: "/bin/x",
  platform: "linux",
} as const
const readAheadBytes = 1_000
const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** The pod's files against an agent of `answer`s that holds everything back until `release`. */
function world(answer: (request: FileRequest) => FileResponse | undefined) {
  const { client, agent } = linkPair()
  client.pause()
  const session = { link: client, protocolVersion: "1.29.0", peer: "agent", close: async () => client.close() }
  const conversation = new Conversation(session, { log: silentLogger, notice() {} })
  const files = createFileWorld(conversation, { mode: "read", readAheadBytes }, at)
  const asked: FileRequest[] = []
  const held: DaemonMessage[] = []
  let open = false
  agent.receive((message) => {
    if (message.kind !== "FileRequest") return
    asked.push(message.value)
    const value = answer(message.value)
    if (value) held.push({ kind: "File", value })
    if (open) for (const each of held.splice(0)) agent.send(each)
  })
  conversation.begin()
  ends.push(() => {
    conversation.end()
    client.abort()
    agent.abort()
  })
  return {
    files,
    conversation,
    asked,
    release() {
      open = true
      for (const each of held.splice(0)) agent.send(each)
    },
  }
}

const ok = <T>(value: T) => ({ kind: "Ok", value }) as const
const missing = {
  kind: "Err",
  value: { kind: "RemoteIO", value: { rawOsError: 2, kind: { kind: "NotFound" } } },
} as const
const bytes = Buffer.from("content")

/** An agent with one file "/data/a", whose descriptors count up from `first`. */
function agentFiles(first = 0n): (request: FileRequest) => FileResponse | undefined {
  let next = first
  const open = new Set<bigint>()
  const metadata = (size: number): FileMetadata => ({
    deviceId: 1n,
    inode: 1n,
    mode: 0o100_644,
    hardLinks: 1n,
    userId: 0,
    groupId: 0,
    rdeviceId: 0n,
    size: BigInt(size),
    accessTime: 0n,
    modificationTime: 0n,
    creationTime: 0n,
    blockSize: 4096n,
    blocks: 8n,
  })
  const gone = { kind: "Err", value: { kind: "NotFound", value: 0n } } as const
  return (request) => {
    switch (request.kind) {
      case "Open": {
        if (request.value.path !== "/data/a") return { kind: "Open", value: missing }
        open.add(next)
        return { kind: "Open", value: ok({ fd: next++ }) }
      }
      case "Xstat":
        return { kind: "Xstat", value: open.has(request.value.fd!) ? ok({ metadata: metadata(bytes.length) }) : gone }
      case "ReadLimited":
        return {
          kind: "ReadLimited",
          value: open.has(request.value.remoteFd) ? ok({ bytes, readAmount: BigInt(bytes.length) }) : gone,
        }
      default:
        return undefined
    }
  }
}

test("opening a small file asks for everything at once: one round trip", async () => {
  const { files, asked, release } = world(agentFiles())
  const opening = files.openForReading("/data/a")
  await until(() => asked.length === 3)
  expect(asked.map(({ kind }) => kind)).toEqual(["Open", "Xstat", "ReadLimited"])
  release()
  const { content, stat, file } = await opening
  expect(Buffer.from(content!).toString()).toBe("content")
  expect(stat.size).toBe(7n)
  file.close()
  await until(() => asked.length === 4)
  expect(asked[3]).toEqual({ kind: "Close", value: { fd: 0n } })
})

test("an agent that counts its descriptors otherwise is read correctly all the same", async () => {
  const { files, asked, release } = world(agentFiles(100n))
  release()
  for (const expected of [5, 3]) {
    asked.length = 0
    const { content } = await files.openForReading("/data/a")
    expect(Buffer.from(content!).toString()).toBe("content")
    // The first guess was wrong; after that there are no more guesses.
    expect(asked).toHaveLength(expected)
  }
})

test("many opens at once each get their own file", async () => {
  const { files, release } = world(agentFiles())
  release()
  const paths = Array.from({ length: 50 }, (_, index) => (index % 3 === 0 ? "/data/none" : "/data/a"))
  const results = await Promise.all(
    paths.map((path) =>
      files.openForReading(path).then(
        ({ content }) => String(content?.byteLength),
        (error) => `errno ${error.errno}`,
      ),
    ),
  )
  expect(results).toEqual(paths.map((path) => (path === "/data/a" ? "7" : "errno 2")))
})

test("when the agent is gone, what waits fails with EIO", async () => {
  const { files, conversation, asked } = world(agentFiles())
  const stat = files.stat("/data/a", true)
  await until(() => asked.length === 1)
  conversation.end()
  await expect(stat).rejects.toMatchObject({ errno: 5 })
  await expect(files.stat("/data/a", true)).rejects.toMatchObject({ errno: 5 })
})

test("a policy may answer an open with the machine's own file; asked otherwise the file is not there", async () => {
  const local = { kind: "Err", value: { kind: "OpenLocal" } } as const
  const { files, release } = world(({ kind }) =>
    kind === "Open" ? { kind, value: local } : kind === "Xstat" ? { kind, value: local } : undefined,
  )
  release()
  const mode = { read: false, write: true, append: false, truncate: false, create: false, exclusive: false }
  await expect(files.open("/data/a", mode)).rejects.toBeInstanceOf(OpenLocally)
  await expect(files.stat("/data/a", true)).rejects.toMatchObject({ errno: 2 })
})

test("a refusal by policy ends the session with the policy's words", async () => {
  const value = { blockedAction: { kind: "Mirror", value: 80 }, policyName: "no-files", reason: "not here" } as const
  const { files, conversation, release } = world(() => ({
    kind: "Open",
    value: { kind: "Err", value: { kind: "ForbiddenWithReason", value } },
  }))
  release()
  const mode = { read: false, write: true, append: false, truncate: false, create: false, exclusive: false }
  await expect(files.open("/data/a", mode)).rejects.toMatchObject({ errno: 13 })
  expect(await conversation.lost).toMatchObject({ code: "policy", message: expect.stringContaining("no-files") })
})

test("-1 leaves an owner as it is, and what cannot be said breaks nothing", async () => {
  const { files, asked, release } = world((request) =>
    request.kind === "Open" ? { kind: "Open", value: ok({ fd: 0n }) } : { kind: "Fchown", value: ok(null) },
  )
  release()
  const file = await files.open("/x", {
    read: true,
    write: false,
    append: false,
    truncate: false,
    create: false,
    exclusive: false,
  })
  await file.setOwner(-1, 7)
  expect(asked.at(-1)).toEqual({ kind: "Fchown", value: { fd: 0n, owner: 0xffff_ffff, group: 7 } })
  await expect(file.setMode(-1)).rejects.toThrow("u32")
  await file.setOwner(1, 2)
})

test.each([
  [0n, "nothing"],
  [4n, "more than there was"],
  [3n, undefined],
  [1n, undefined],
])("an agent that says it wrote %s of three bytes", async (writtenAmount, wrong) => {
  const { files, release } = world((request) =>
    request.kind === "Open"
      ? { kind: "Open", value: ok({ fd: 0n }) }
      : { kind: request.kind as "Write" | "WriteLimited", value: ok({ writtenAmount }) },
  )
  release()
  const mode = { read: false, write: true, append: false, truncate: false, create: false, exclusive: false }
  const file = await files.open("/x", mode)
  for (const write of [() => file.writeAt(0n, Buffer.from("abc")), () => file.append(Buffer.from("abc"))]) {
    if (wrong) await expect(write()).rejects.toMatchObject({ errno: 5 })
    else expect(await write()).toBe(Number(writtenAmount))
  }
})

test("what agents refuse to open is opened in a way they take", async () => {
  const { files, asked, release } = world((request) =>
    request.kind === "Open" ? { kind: "Open", value: ok({ fd: 0n }) } : { kind: "Ftruncate", value: ok(null) },
  )
  release()
  const mode = { read: false, write: true, append: true, truncate: true, create: true, exclusive: false }
  await files.open("/log", mode)
  await files.open("/old", { ...mode, read: true, write: false, append: false, create: false })
  const options = { read: false, write: true, append: true, truncate: false, create: true, createNew: false }
  expect(asked).toEqual([
    { kind: "Open", value: { path: "/log", openOptions: options } },
    { kind: "Ftruncate", value: { fd: 0n, length: 0n } },
    {
      kind: "Open",
      value: { path: "/old", openOptions: { ...options, read: true, append: false, truncate: true, create: false } },
    },
  ])
})
