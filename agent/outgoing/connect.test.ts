import { afterAll, beforeAll, expect, test } from "bun:test"
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { LinuxError } from "../../core/linux/errno.ts"
import type { Surroundings } from "../target/target.ts"
import { connectOutgoing } from "./connect.ts"

/* Unix sockets by path: those below the target's root folder are reached as the target names them, others not at all. */

let folder: string
let surroundings: Surroundings
const listeners: { stop(): unknown }[] = []

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "podside-connect-"))
  mkdirSync(join(folder, "root/run"), { recursive: true })
  for (const unix of [join(folder, "root/run/app.sock"), join(folder, "host.sock")]) {
    listeners.push(Bun.listen({ unix, socket: { data() {} } }))
  }
  symlinkSync("/run/app.sock", join(folder, "root/absolute"))
  symlinkSync(join(folder, "host.sock"), join(folder, "root/out"))
  symlinkSync("../host.sock", join(folder, "root/above"))
  const rootFd = openSync(join(folder, "root"), "r")
  surroundings = { rootFd, inNamespace: (make: () => unknown) => make() } as unknown as Surroundings
})
afterAll(() => {
  for (const listener of listeners) listener.stop()
  closeSync(surroundings.rootFd)
  rmSync(folder, { recursive: true })
})

async function connect(path: string): Promise<string> {
  try {
    const address = { kind: "Unix", value: { kind: "Pathname", value: path } } as const
    const { socket } = await connectOutgoing("TcpOutgoing", address, surroundings)
    socket.close()
    return "connected"
  } catch (thrown) {
    return thrown instanceof LinuxError ? `errno ${thrown.errno}` : String(thrown)
  }
}

test.each(["/run/app.sock", "/absolute", "/../run/app.sock"])("%s is a socket of the target", async (path) => {
  expect(await connect(path)).toBe("connected")
})

test.each(["/out", "/above", "/../host.sock"])("%s does not lead to one of the host", async (path) => {
  expect(await connect(path)).toBe("errno 2")
})
