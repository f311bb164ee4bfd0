import { expect, test } from "bun:test"
import { collecting } from "./collect-received.ts"

test("garbage is collected after every 32 MiB, however small the pieces", () => {
  let collections = 0
  const received = collecting(() => void collections++)
  for (let count = 0; count < 511; count++) received(64 << 10)
  expect(collections).toBe(0)
  received(64 << 10)
  expect(collections).toBe(1)
  for (let count = 0; count < 5120; count++) received(64 << 10)
  expect(collections).toBe(11)
  received(100 << 20)
  expect(collections).toBe(12)
})
