import { expect, test } from "bun:test"
import { kernelTooOld, whyUnavailable } from "./unavailable.ts"

test.each([
  ["5.13.0-generic", "engine-kernel-too-old"],
  ["4.19.0", "engine-kernel-too-old"],
  ["5.14.0", undefined],
  ["5.15.0-1047-azure", undefined],
  ["6.1.0-13-amd64", undefined],
  ["10.0", undefined],
])("kernel %s: %s", (version, code) => {
  expect(kernelTooOld(version)?.code).toBe(code as string)
})

test("a lack says what to do, and here nothing lacks", () => {
  expect(kernelTooOld("5.4.0")?.next).toContain("Update the kernel")
  expect(whyUnavailable()).toBeUndefined()
})
