import { afterEach, beforeEach, expect, test } from "bun:test"
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { silentLogger } from "../../core/log.ts"
import { refused } from "../response-error.ts"
import { readSettings } from "../settings.ts"
import type { Surroundings } from "../target/target.ts"
import { Resolver } from "./resolver.ts"

/* What is said when the target's own files do not serve. That the protocol's `PermissionDenied` is never said: it ends a client's session. */

let folder: string
let rootFd: number
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "podside-resolver-"))
  mkdirSync(join(folder, "etc"))
  writeFileSync(join(folder, "etc/resolv.conf"), "")
  writeFileSync(join(folder, "etc/hosts"), "10.9.9.9 legacy\n")
  rootFd = openSync(folder, "r")
})
afterEach(() => {
  closeSync(rootFd)
  rmSync(folder, { recursive: true })
})

async function lookUp(name: string, namesRootFd = rootFd): Promise<unknown> {
  const surroundings = { namesRootFd, inNamespace: (make: () => unknown) => make() } as unknown as Surroundings
  try {
    return (await new Resolver(surroundings, readSettings({}, silentLogger)).lookUp(name, "both")).records
  } catch (thrown) {
    return refused(thrown).value
  }
}
const failure = (kind: object) => ({ kind: "DnsLookup", value: { kind } })

test("with both files a name of hosts is found; without a server there is nobody to ask for others", async () => {
  expect(await lookUp("legacy")).toEqual([{ name: "legacy", ip: "10.9.9.9" }])
  expect(await lookUp("other.test")).toEqual(failure({ kind: "NoConnections" }))
})

test.each(["resolv.conf", "hosts"])("without %s nothing is found, not even what the other file has", async (name) => {
  rmSync(join(folder, "etc", name))
  expect(await lookUp("legacy")).toEqual(failure({ kind: "NotFound" }))
})

test("a file the agent may not read is a failure of this question only", async () => {
  const EACCES = 13
  expect(await lookUp("legacy", -EACCES)).toEqual(
    failure({ kind: "Message", value: expect.stringContaining("/etc/resolv.conf of the target: EACCES") }),
  )
})
