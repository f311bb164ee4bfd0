import { expect, test } from "bun:test"
import { loadConfig } from "./load.ts"
import { applyProfile, profileReference } from "./profile.ts"

const load = async () => (await loadConfig({ environment: { MIRRORD_AGENT_TCP_STEAL_TRAFFIC: "true" } })).config
const adjust = (...changes: string[]) => ({ featureAdjustments: changes.map((change) => ({ change })) })

test("changes are applied in order, on top of the file", async () => {
  const config = await load()
  applyProfile(config, profileReference("p"), adjust("incoming-off", "incoming-mirror", "dns-off", "outgoing-remote"))
  const { incoming, dns, outgoing } = config.feature.network
  expect([incoming.mode, dns.enabled, outgoing.tcp, outgoing.unix_streams]).toEqual(["mirror", false, true, [".*"]])
  expect(config.target.namespace).toBeUndefined()
  applyProfile(config, profileReference("p"), adjust("outgoing-off"))
  expect([outgoing.tcp, outgoing.udp, outgoing.unix_streams]).toEqual([false, false, undefined])
})

test("a profile of a namespace brings that namespace, and is refused for another", async () => {
  const config = await load()
  applyProfile(config, profileReference("shop/p"), {})
  expect(config.target.namespace).toBe("shop")
  expect(() => applyProfile(config, profileReference("other/p"), {})).toThrow('the target is in "shop"')
})

test.each([[adjust("MakeCoffee")], [{ more: 1 }], [null]])("%j is refused, and nothing is changed", async (spec) => {
  const config = await load()
  expect(() => applyProfile(config, profileReference("p"), spec)).toThrow(
    expect.objectContaining({ code: "config-profile" }),
  )
  expect(config.feature.network.incoming.mode).toBe("steal")
})
