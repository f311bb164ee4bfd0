import { afterAll, expect, test } from "bun:test"
import { closeSync, mkdtempSync, openSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { TargetFile } from "./target-file.ts"

const folder = mkdtempSync(join(tmpdir(), "podside-target-file-"))
const root = openSync(folder, "r")
const path = join(folder, "hosts")
let parsed = 0
const file = new TargetFile("/hosts", (text) => {
  parsed++
  return text.toUpperCase()
})

afterAll(() => {
  closeSync(root)
  rmSync(folder, { recursive: true })
})

test("a file that stays as it is is read once", async () => {
  writeFileSync(path, "one")
  // Long enough for its times to tell the next change.
  await Bun.sleep(150)
  parsed = 0
  expect([file.read(root), file.read(root), file.read(root)]).toEqual(["ONE", "ONE", "ONE"])
  expect(parsed).toBe(1)
})

test("a change shows at once, be it of the same length, made twice in a moment, or by another file in its place", () => {
  for (const text of ["two", "six", "ten"]) {
    writeFileSync(path, text)
    expect(file.read(root)).toBe(text.toUpperCase())
  }
  writeFileSync(`${path}.new`, "new")
  utimesSync(`${path}.new`, 1, 1)
  renameSync(`${path}.new`, path)
  expect(file.read(root)).toBe("NEW")
})

test("a file that is gone is a failure, and a new one is found", async () => {
  rmSync(path)
  expect(() => file.read(root)).toThrow("open")
  writeFileSync(path, "back")
  expect(file.read(root)).toBe("BACK")
})
