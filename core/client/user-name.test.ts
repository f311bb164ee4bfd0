import { afterAll, expect, test } from "bun:test"
import { rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { userName } from "./user-name.ts"

const list = join(tmpdir(), `podside-users-${process.pid}`)
writeFileSync(list, `root:x:7000000:0\nmaria:x:${process.getuid!()}:100:Maria:/home/maria:/bin/sh\n`)
afterAll(() => rmSync(list))

test.each<[sentence: string, env: Record<string, string>, list: string, name: string]>([
  ["the machine's list says it, whatever a variable does", { USER: "somebody" }, list, "maria"],
  ["who is in no list is who the environment says", { USER: "somebody" }, "/nonexistent", "somebody"],
  ["cron has LOGNAME alone", { LOGNAME: "somebody" }, "/nonexistent", "somebody"],
  ["nobody knows", {}, "/nonexistent", "unknown"],
])("%s", (_, env, file, name) => {
  expect(userName(env, file)).toBe(name)
})
