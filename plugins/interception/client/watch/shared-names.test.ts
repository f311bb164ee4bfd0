import { expect, test } from "bun:test"
import { AF_INET, AF_INET6, decodeEndpoint } from "../../../../core/linux/socket-address.ts"
import { SharedNames, sharedNamesBytes } from "./shared-names.ts"

const name = { peer: { ip: "10.1.2.3", port: 80 }, own: { ip: "10.9.9.8", port: 4711 } }

test("names set on one side are read on the other, for that socket only, until they are removed", () => {
  const memory = new SharedArrayBuffer(16 + sharedNamesBytes)
  const writer = new SharedNames(memory, 16)
  const reader = new SharedNames(memory, 16)
  const read = (inode: number, which: "peer" | "own") => {
    const address = reader.get(inode, which)
    return address && decodeEndpoint(address)
  }
  const inode = 0xffff_fff0
  writer.set(inode, AF_INET, name)
  expect([read(inode, "peer"), read(inode, "own")]).toEqual([name.peer, name.own])
  expect(reader.get(inode, "peer")).toHaveLength(16)
  expect(read(inode - 1, "peer")).toBeUndefined()
  const sameSlot = inode - (1 << 20)
  writer.set(sameSlot, AF_INET6, name)
  expect(reader.get(sameSlot, "peer")).toHaveLength(28)
  expect(read(inode, "peer")).toBeUndefined()
  writer.remove(inode)
  expect(read(sameSlot, "peer")?.port).toBe(80)
  writer.remove(sameSlot)
  expect(read(sameSlot, "peer")).toBeUndefined()
})
