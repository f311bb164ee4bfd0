import { expect, test } from "bun:test"
import { parseDnsFilter } from "../../../../config/address-filter.ts"
import type { DirectionFilter } from "../outgoing/address-filter.ts"
import { KnownNames } from "./known-names.ts"
import { createDnsWorld } from "./world.ts"

const filter = (matching: "remote" | "local", ...entries: string[]): DirectionFilter => ({
  matching,
  entries: entries.map(parseDnsFilter),
})

/** A question for the IPv4 addresses of a name. */
function query(name: string): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)])
  return new Uint8Array([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1])
}

test.each<[sentence: string, filter: DirectionFilter | undefined, name: string, asked: "pod" | "machine"]>([
  ["without a filter the pod is asked", undefined, "db.shop", "pod"],
  ["what a local filter names is this machine's", filter("local", "db.shop"), "db.shop", "machine"],
  ["the rest is the pod's", filter("local", "db.shop"), "web.shop", "pod"],
  ["what a remote filter names is the pod's", filter("remote", "db.shop"), "db.shop", "pod"],
  ["the rest is this machine's", filter("remote", "db.shop"), "web.shop", "machine"],
  ["a name is no suffix", filter("local", "shop"), "db.shop", "pod"],
  ["nor does its case fit", filter("local", "DB.shop"), "db.shop", "pod"],
  ["a port is for connections, not for names", filter("local", "db.shop:5432"), "db.shop", "pod"],
  ["an entry for everything fits every name", filter("local", "0.0.0.0"), "db.shop", "machine"],
  ["a network fits the addresses in it", filter("local", "10.0.0.0/8"), "10.1.2.3", "machine"],
  ["and no others", filter("local", "10.0.0.0/8"), "11.1.2.3", "pod"],
])("%s", async (_, given, name, asked) => {
  const who: string[] = []
  const ask = (whom: string) => async () => {
    who.push(whom)
    return { ips: ["10.0.0.7"] }
  }
  const known = new KnownNames()
  const world = createDnsWorld(given ? { filter: given } : {}, {
    names: { remote: ask("pod"), local: ask("machine"), walk: async () => undefined },
    known,
    forward: async () => undefined,
    podConfig: async () => undefined,
    readsHosts: true,
  })
  const answer = Buffer.from(await world.answer(query(name)))
  expect(who).toEqual([asked])
  expect(answer.subarray(-4).join(".")).toBe("10.0.0.7")
  expect(known.isAddressOf(name, "10.0.0.7")).toBe(true)
})
