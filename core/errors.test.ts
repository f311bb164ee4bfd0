import { expect, test } from "bun:test"
import { readFile } from "node:fs/promises"
import { fileFault } from "./errors.ts"

const faultOf = (path: string) => readFile(path).then(() => "", fileFault)

test("what the system says of a file is told without naming it again", async () => {
  expect(await faultOf("/nonexistent/file")).toBe("there is no such file or folder")
  expect(await faultOf("/")).toBe("it is a folder")
  expect(await faultOf("/etc/passwd/file")).toBe("a part of its path is no folder")
})

test("anything else keeps its first line", () => {
  expect(fileFault(new Error("it is larger than 5 bytes\nat line 3"))).toBe("it is larger than 5 bytes")
  expect(fileFault("odd")).toBe("odd")
})
