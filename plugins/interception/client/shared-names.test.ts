import { expect, test } from "bun:test"
import { SharedNames, sharedNamesBytes } from "./shared-names.ts"

const name = { peer: { ip: "10.1.2.3", port: 80 }, own: { ip: "fd00::7", port: 4711 } }

test("names set on one side are read on the other, for that connection only, until they are removed", () => {
  const memory = new SharedArrayBuffer(16 + sharedNamesBytes)
  const writer = new SharedNames(memory, 16)
  const reader = new SharedNames(memory, 16)
  writer.set(65_535, 9000, name)
  expect(reader.get(65_535, 9000)).toEqual(name)
  expect(reader.get(65_535, 9001)).toBeUndefined()
  expect(reader.get(65_534, 9000)).toBeUndefined()
  const next = { peer: { ip: "10.1.2.4", port: 81 }, own: { ip: "10.9.9.9", port: 4712 } }
  writer.set(65_535, 9001, next)
  expect(reader.get(65_535, 9000)).toBeUndefined()
  expect(reader.get(65_535, 9001)).toEqual(next)
  writer.remove(65_535)
  expect(reader.get(65_535, 9001)).toBeUndefined()
})
