import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OpenOptions } from "../../../core/protocol/index.ts"
import type { AgentProcess } from "../incoming/agent-process.ts"
import { type Pod, whyNoPods } from "../incoming/pod.ts"
import { onePod } from "../incoming/pods.ts"
import { MirrordClient } from "./mirrord-client.ts"

/* The dialogues of an unmodified client with an agent of ours, by a client that forgives nothing. */

const reason = whyNoPods()
if (reason) console.warn(`SKIPPED: an agent and mirrord's client: ${reason}`)

const reading: OpenOptions = {
  read: true,
  write: false,
  append: false,
  truncate: false,
  create: false,
  createNew: false,
}

describe.skipIf(reason !== undefined)("an agent, to mirrord's client,", () => {
  let pod: Pod
  let agent: AgentProcess
  let client: MirrordClient
  const folder = mkdtempSync(join(tmpdir(), "podside-peer-"))
  const clients: MirrordClient[] = []

  onePod((made) => ({ pod, agent } = made))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const open = async (version = "1.29.0", seed = 1) => {
    const opened = await MirrordClient.internalProxy({ unix: agent.socketPath }, version, seed)
    clients.push(opened)
    return opened
  }

  beforeEach(async () => {
    client = await open()
  })

  afterEach(() => {
    for (const each of clients.splice(0)) {
      each.hangUp()
      expect(each.violations).toEqual([])
    }
  })

  // ---- 4.1, 4.2

  test("answers a command line that negotiates and asks for the environment, and one that only asks", async () => {
    const first = await MirrordClient.dial({ unix: agent.socketPath })
    clients.push(first)
    expect(await first.negotiate("1.29.0")).toBe("1.29.0")
    const all = await first.environment()
    expect(all).toMatchObject({ kind: "Ok" })
    const second = await MirrordClient.dial({ unix: agent.socketPath })
    clients.push(second)
    const names = await second.environment([], ["*"])
    expect(names).toEqual({ kind: "Ok", value: new Map() })
    expect(all.kind === "Ok" && all.value.has("PATH")).toBe(false)
  })

  test.each([
    ["1.2.2", "1.2.2"],
    ["1.12.0", "1.12.0"],
    ["1.29.0", "1.29.0"],
    ["1.31.4", "1.29.0"],
  ])("settles %s as %s, also when asked twice", async (offered, settled) => {
    const other = await open(offered)
    expect(other.agreed).toBe(settled)
    expect(await other.negotiate(offered)).toBe(settled)
  })

  test("says Close to what it cannot do, and goes on", async () => {
    client.say({ kind: "PauseTargetRequest", value: true })
    await client.ping()
    expect(client.closed).toBe("Pause isn't supported anymore.")
    client.say({ kind: "Vpn", value: { kind: "OpenSocket" } })
    await client.ping()
    expect(client.closed).toBe("VPN is not supported")
  })

  test("ends the session over a relative path", async () => {
    client.say({ kind: "FileRequest", value: { kind: "Open", value: { path: "etc/hosts", openOptions: reading } } })
    await client.ended
    expect(client.closed).toContain("etc/hosts")
  })

  // ---- 4.3

  const openFile = async (path: string, options: Partial<OpenOptions> = {}) => {
    const answer = await client.file({ kind: "Open", value: { path, openOptions: { ...reading, ...options } } })
    if (answer.kind !== "Ok") throw new Error(JSON.stringify(answer))
    return (answer.value as { fd: bigint }).fd
  }

  test("reads a file the way the internal proxy buffers it", async () => {
    const path = join(folder, "data")
    writeFileSync(path, Buffer.alloc(300_000, "x"))
    const fd = await openFile(path)
    const stat = await client.file({ kind: "Xstat", value: { path: null, fd, followSymlink: true } })
    expect(stat).toMatchObject({ kind: "Ok", value: { metadata: { size: 300_000n } } })
    let position = 0n
    for (const expected of [128_000, 128_000, 44_000, 0]) {
      const value = { remoteFd: fd, bufferSize: 128_000n, startFrom: position }
      const answer = await client.file({ kind: "ReadLimited", value })
      const { bytes, readAmount } = (answer as { value: { bytes: Uint8Array; readAmount: bigint } }).value
      expect([bytes.length, readAmount]).toEqual([expected, BigInt(expected)])
      position += readAmount
    }
    client.closeFile("Close", fd)
    client.closeFile("Close", fd)
    client.closeFile("CloseDir", 999n)
    const late = await client.file({ kind: "Read", value: { remoteFd: fd, bufferSize: 1n } })
    expect(late).toEqual({ kind: "Err", value: { kind: "NotFound", value: fd } })
  })

  test("gives times in nanoseconds since the epoch", async () => {
    const path = join(folder, "dated")
    writeFileSync(path, "x")
    const answer = await client.file({ kind: "Xstat", value: { path, fd: null, followSymlink: true } })
    const { modificationTime } = (answer as { value: { metadata: { modificationTime: bigint } } }).value.metadata
    expect(Math.abs(Number(modificationTime / 1_000_000n) - Date.now())).toBeLessThan(60_000)
  })

  test("lists a folder in batches of 128, to an empty one", async () => {
    const path = join(folder, "many")
    mkdirSync(path)
    for (let index = 0; index < 200; index++) writeFileSync(join(path, `file-${index}`), "")
    const fd = await openFile(path)
    const opened = await client.file({ kind: "FdOpenDir", value: { remoteFd: fd } })
    const stream = (opened as { value: { fd: bigint } }).value.fd
    expect(stream).not.toBe(fd)
    const sizes: number[] = []
    const names = new Set<string>()
    for (let amount = -1; amount !== 0; ) {
      const answer = await client.file({ kind: "ReadDirBatch", value: { remoteFd: stream, amount: 128n } })
      const { fd: echoed, dirEntries } = (answer as { value: { fd: bigint; dirEntries: { name: string }[] } }).value
      expect(echoed).toBe(stream)
      for (const { name } of dirEntries) names.add(name)
      amount = dirEntries.length
      sizes.push(amount)
    }
    expect(sizes).toEqual([128, 72, 0])
    expect(names.size).toBe(200)
    client.closeFile("CloseDir", stream)
    client.closeFile("Close", fd)
    await client.ping()
  })

  test("lists a folder in records, dots first, until none fits", async () => {
    const path = join(folder, "records")
    mkdirSync(path)
    writeFileSync(join(path, "one"), "")
    const fd = await openFile(path)
    const next = async (bufferSize: bigint) => {
      const answer = await client.file({ kind: "GetDEnts64", value: { remoteFd: fd, bufferSize } })
      return (answer as { value: { entries: { name: string; position: bigint }[]; resultSize: bigint } }).value
    }
    const all = await next(32_768n)
    expect(all.entries.map(({ name, position }) => [name, position])).toEqual([
      [".", 0n],
      ["..", 1n],
      ["one", 2n],
    ])
    expect(all.resultSize).toBe(24n + 24n + 24n)
    expect(await next(32_768n)).toMatchObject({ entries: [], resultSize: 0n })
  })

  test("fails with the numbers and kinds programs know", async () => {
    writeFileSync(join(folder, "file"), "text")
    mkdirSync(join(folder, "full"))
    writeFileSync(join(folder, "full", "inside"), "")
    symlinkSync("loop", join(folder, "loop"))
    const path = (name: string) => join(folder, name)
    const os = (rawOsError: number, kind: string) => ({
      kind: "Err",
      value: { kind: "RemoteIO", value: { rawOsError, kind: { kind } } },
    })
    const opening = (name: string, options: Partial<OpenOptions> = {}) =>
      client.file({ kind: "Open", value: { path: path(name), openOptions: { ...reading, ...options } } })
    expect(await opening("none")).toMatchObject(os(2, "NotFound"))
    expect(await opening("file/below")).toMatchObject(os(20, "NotADirectory"))
    expect(await opening("file/")).toMatchObject(os(20, "NotADirectory"))
    expect(await opening("full", { write: true })).toMatchObject(os(21, "IsADirectory"))
    expect(await opening("file", { write: true, createNew: true })).toMatchObject(os(17, "AlreadyExists"))
    expect(await opening("x".repeat(300))).toMatchObject(os(36, "InvalidFilename"))
    expect(await client.file({ kind: "RemoveDir", value: { pathname: path("full") } })).toMatchObject(
      os(39, "DirectoryNotEmpty"),
    )
    expect(await client.file({ kind: "MakeDir", value: { pathname: path("full"), mode: 0o755 } })).toMatchObject(
      os(17, "AlreadyExists"),
    )
    expect(await client.file({ kind: "Unlink", value: { pathname: path("full") } })).toMatchObject(
      os(21, "IsADirectory"),
    )
    expect(
      await client.file({ kind: "UnlinkAt", value: { dirfd: null, pathname: path("file"), flags: 7 } }),
    ).toMatchObject(os(22, "InvalidInput"))
    expect(await client.file({ kind: "ReadLink", value: { path: path("file") } })).toMatchObject(os(22, "InvalidInput"))
    expect(await client.file({ kind: "ReadLink", value: { path: "file" } })).toMatchObject({
      kind: "Err",
      value: { kind: "StripPrefix" },
    })
    expect(await client.file({ kind: "Access", value: { pathname: path("file"), mode: 1 } })).toMatchObject(
      os(13, "PermissionDenied"),
    )
    expect(await client.file({ kind: "Xstat", value: { path: null, fd: null, followSymlink: true } })).toMatchObject({
      kind: "Err",
      value: { kind: "RemoteIO", value: { kind: { kind: "InvalidInput" } } },
    })
    const loop = await opening("loop")
    expect(loop).toMatchObject({ kind: "Err", value: { kind: "RemoteIO", value: { rawOsError: 40 } } })
  })

  test("tells descriptors of files and of folders apart", async () => {
    const file = await openFile(join(folder, "file"))
    const dir = await openFile(join(folder, "full"))
    const refused = (kind: string, value: bigint) => ({ kind: "Err", value: { kind, value } })
    expect(await client.file({ kind: "Read", value: { remoteFd: dir, bufferSize: 9n } })).toEqual(
      refused("NotFile", dir) as never,
    )
    expect(await client.file({ kind: "FdOpenDir", value: { remoteFd: file } })).toEqual(
      refused("NotDirectory", file) as never,
    )
    const relative = { relativeFd: dir, path: "inside", openOptions: reading }
    expect(await client.file({ kind: "OpenRelative", value: relative })).toMatchObject({ kind: "Ok" })
    const wrong = { relativeFd: file, path: "inside", openOptions: reading }
    expect(await client.file({ kind: "OpenRelative", value: wrong })).toEqual(refused("NotDirectory", file) as never)
    expect(await client.file({ kind: "Xstat", value: { path: "inside", fd: dir, followSymlink: true } })).toMatchObject(
      { kind: "Ok" },
    )
    expect(await client.file({ kind: "XstatFsV2", value: { fd: dir } })).toMatchObject({ kind: "Ok" })
    expect(await client.file({ kind: "XstatFs", value: { fd: file } })).toMatchObject({ kind: "Ok" })
    expect(await client.file({ kind: "StatFsV2", value: { path: folder } })).toMatchObject({ kind: "Ok" })
    expect(await client.file({ kind: "StatFs", value: { path: folder } })).toMatchObject({ kind: "Ok" })
  })

  test("writes, seeks, cuts and renames", async () => {
    const path = join(folder, "written")
    const fd = await openFile(path, { write: true, create: true, truncate: true })
    const bytes = Buffer.from("0123456789")
    expect(await client.file({ kind: "Write", value: { fd, writeBytes: bytes } })).toMatchObject({
      value: { writtenAmount: 10n },
    })
    expect(await client.file({ kind: "Seek", value: { fd, seekFrom: { kind: "End", value: -4n } } })).toMatchObject({
      value: { resultOffset: 6n },
    })
    expect(await client.file({ kind: "Read", value: { remoteFd: fd, bufferSize: 100n } })).toMatchObject({
      value: { readAmount: 4n },
    })
    const late = { remoteFd: fd, startFrom: 2n, writeBytes: Buffer.from("AB") }
    expect(await client.file({ kind: "WriteLimited", value: late })).toMatchObject({ value: { writtenAmount: 2n } })
    expect(await client.file({ kind: "Ftruncate", value: { fd, length: 5n } })).toEqual({ kind: "Ok", value: null })
    expect(await client.file({ kind: "Fchmod", value: { fd, mode: 0o600 } })).toEqual({ kind: "Ok", value: null })
    expect(await client.file({ kind: "Fchown", value: { fd, owner: 0xffffffff, group: 0xffffffff } })).toEqual({
      kind: "Ok",
      value: null,
    })
    expect(await client.file({ kind: "Futimens", value: { fd, times: null } })).toEqual({ kind: "Ok", value: null })
    const moved = { oldPath: path, newPath: join(folder, "moved") }
    expect(await client.file({ kind: "Rename", value: moved })).toEqual({ kind: "Ok", value: null })
    expect(await Bun.file(join(folder, "moved")).text()).toBe("01AB4")
  })

  // ---- 4.4

  test("resolves in order, in both forms of the question", async () => {
    const old = await open("1.14.0")
    for (const each of [client, old]) {
      const answers = await Promise.all([
        each.lookUp("localhost", "Ipv4Only"),
        each.lookUp("10.9.8.7"),
        each.lookUp("localhost", "Ipv4Only"),
      ])
      expect(answers[1]).toEqual({ kind: "Ok", value: [{ name: "10.9.8.7", ip: "10.9.8.7" }] })
      for (const answer of [answers[0], answers[2]]) {
        expect(answer).toMatchObject({ kind: "Ok" })
        expect((answer as { value: { ip: string }[] }).value.map(({ ip }) => ip)).toContain("127.0.0.1")
      }
    }
  })

  // ---- 4.5

  /** Answers in the pod with what it was sent, in capitals, once that ended. */
  const capitals = () =>
    pod.inPod(() =>
      Bun.listen<{ text: string }>({
        hostname: "::",
        port: 0,
        allowHalfOpen: true,
        socket: {
          open: (socket) => void (socket.data = { text: "" }),
          data: (socket, bytes) => void (socket.data.text += bytes.toString()),
          end: (socket) => void socket.end(socket.data.text.toUpperCase()),
        },
      }),
    )

  test.each(["1.29.0", "1.19.0", "1.2.2"])("connects by TCP for a client of %s", async (version) => {
    const listener = capitals()
    const each = await open(version)
    for (const address of ["127.0.0.1", "::1", pod.ip4]) {
      const remote = { kind: "Ip", value: { ip: address, port: listener.port } } as const
      const connect = await each.connect("TcpOutgoing", remote)
      if (connect.kind !== "Ok") throw new Error(JSON.stringify(connect))
      const { connectionId, remoteAddress, localAddress } = connect.value
      expect(remoteAddress).toEqual(remote)
      expect(localAddress).toMatchObject({ kind: "Ip", value: { ip: address } })
      each.write("TcpOutgoing", connectionId, "one ")
      each.write("TcpOutgoing", connectionId, "two")
      each.write("TcpOutgoing", connectionId, "")
      expect(await each.untilClosed("TcpOutgoing", connectionId)).toEqual({ content: "ONE TWO", ended: true })
    }
    listener.stop(true)
    const refused = await each.connect("TcpOutgoing", { kind: "Ip", value: { ip: "127.0.0.1", port: listener.port } })
    expect(refused).toEqual({
      kind: "Err",
      value: { kind: "RemoteIO", value: { rawOsError: 111, kind: { kind: "ConnectionRefused" } } },
    })
    const nowhere = await each.connect("TcpOutgoing", { kind: "Ip", value: { ip: "192.0.2.1", port: 9 } })
    expect(nowhere).toMatchObject({ value: { value: { rawOsError: 101, kind: { kind: "NetworkUnreachable" } } } })
  })

  test("answers nothing to a client's close, and ignores what comes after", async () => {
    const listener = capitals()
    const connect = await client.connect("TcpOutgoing", { kind: "Ip", value: { ip: "127.0.0.1", port: listener.port } })
    const { connectionId } = (connect as { value: { connectionId: bigint } }).value
    client.closeOutgoing("TcpOutgoing", connectionId)
    client.write("TcpOutgoing", connectionId, "late")
    client.write("TcpOutgoing", 4711n, "never")
    await client.ping()
    listener.stop(true)
  })

  test.each(["1.29.0", "1.19.0"])("carries datagrams for a client of %s", async (version) => {
    const each = await open(version)
    const echo = await pod.inPod(() =>
      Bun.udpSocket({
        hostname: "0.0.0.0",
        socket: { data: (socket, bytes, port, ip) => void socket.send(`got ${bytes}`, port, ip) },
      }),
    )
    const remote = { kind: "Ip", value: { ip: pod.ip4, port: echo.port } } as const
    const connect = await each.connect("UdpOutgoing", remote)
    const { connectionId, localAddress } = (connect as Extract<typeof connect, { kind: "Ok" }>).value
    expect(localAddress.kind).toBe("Ip")
    for (const text of ["a", "b"]) {
      each.write("UdpOutgoing", connectionId, text)
      expect(await each.nextData("UdpOutgoing", connectionId)).toBe(`got ${text}`)
    }
    each.closeOutgoing("UdpOutgoing", connectionId)
    echo.close()
  })

  test("connects to unix sockets by path and by abstract name", async () => {
    const path = join(folder, "peer.sock")
    const answering = { open: (socket: { end(text: string): void }) => void socket.end("hello"), data() {} }
    const listener = Bun.listen({ unix: path, socket: answering })
    const byPath = { kind: "Unix", value: { kind: "Pathname", value: path } } as const
    const connect = await client.connect("TcpOutgoing", byPath)
    const { connectionId } = (connect as { value: { connectionId: bigint } }).value
    client.write("TcpOutgoing", connectionId, "")
    expect(await client.untilClosed("TcpOutgoing", connectionId)).toEqual({ content: "hello", ended: true })
    listener.stop(true)
    const none = { kind: "Unix", value: { kind: "Abstract", value: Buffer.from("podside-nobody") } } as const
    for (const kind of ["TcpOutgoing", "SeqpacketOutgoing"] as const) {
      expect(await client.connect(kind, none)).toMatchObject({ kind: "Err", value: { kind: "RemoteIO" } })
    }
    const unnamed = { kind: "Unix", value: { kind: "Unnamed" } } as const
    expect(await client.connect("TcpOutgoing", unnamed)).toMatchObject({ kind: "Err" })
  })
})
