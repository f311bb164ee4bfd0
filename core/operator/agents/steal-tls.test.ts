import { describe, expect, test } from "bun:test"
import { statusError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import { silentLogger } from "../../log.ts"
import { parseTarget, policyPath } from "../../target.ts"
import { StealTls, type StealTlsObject } from "./steal-tls.ts"

const entry = (port: number, name = "app") => ({
  port,
  agentAsServer: { authentication: { certPem: `/tls/${name}.crt`, keyPem: `/tls/${name}.key` } },
  agentAsClient: { verification: { acceptAnyCert: true } },
})

interface Given {
  name: string
  spec: unknown
  namespace?: string
}

/** A cluster with these objects; `answers` replaces what is said to a path. */
function cluster(
  objects: readonly Given[],
  labels: Record<string, string> = {},
  answers: Record<string, unknown> = {},
) {
  const asked: string[] = []
  const warnings: { name: string; reason: string; message: string }[] = []
  const answer = (path: string, otherwise: unknown) => {
    asked.push(path)
    const given = answers[path] ?? otherwise
    if (given instanceof Error) throw given
    return given
  }
  const kube = {
    list: async (path: string) => {
      const namespace = /\/namespaces\/([^/]+)\//.exec(path)?.[1]
      const found = objects.filter((one) => one.namespace === namespace)
      return answer(
        path,
        found.map(({ spec, ...metadata }) => ({
          metadata: { ...metadata, uid: metadata.name, resourceVersion: "1" },
          spec,
        })),
      )
    },
    request: async (_: string, path: string) => answer(path, { metadata: { name: "web", labels } }),
  } as unknown as Kube
  const warn = ({ metadata: { name } }: StealTlsObject, reason: string, message: string) =>
    void warnings.push({ name, reason, message })
  const stealTls = new StealTls({ kube, log: silentLogger, warn })
  const ports = async (target: string) => {
    const text = await stealTls.agentConfig(parseTarget(target), "shop")
    return text === undefined ? undefined : (JSON.parse(Buffer.from(text, "base64").toString()) as { port: number }[])
  }
  return {
    stealTls,
    asked,
    warnings,
    ports,
    portsOf: async (target: string) => (await ports(target))?.map(({ port }) => port),
  }
}

const lists = {
  shop: "/apis/mirrord.metalbear.co/v1alpha/namespaces/shop/mirrordtlsstealconfigs",
  cluster: "/apis/mirrord.metalbear.co/v1alpha/mirrordclustertlsstealconfigs",
}

test.each([
  ["deployment/api", "deploy/api"],
  ["deploy/api/container/app", "deploy/api/container/app"],
  ["statefulset/db", "statefulset/db"],
  ["label/app=web", "label"],
  ["targetless", "targetless"],
])("%s is called %s", (target, path) => {
  expect(policyPath(parseTarget(target))).toBe(path)
})

describe("what a new agent is told", () => {
  test("the ports of every object that is for its target, in mirrord's form", async () => {
    const { stealTls, ports } = cluster([
      {
        name: "a",
        namespace: "shop",
        spec: {
          targetPath: "deploy/web*",
          ports: [{ ...entry(443), agentAsServer: { ...entry(443).agentAsServer, verification: null } }],
        },
      },
      { name: "b", spec: { ports: [entry(8443)] } },
      { name: "c", namespace: "shop", spec: { targetPath: "deploy/api", ports: [entry(9443)] } },
      { name: "d", namespace: "team", spec: { ports: [entry(7443)] } },
    ])
    expect(await ports("deployment/web")).toEqual([entry(443), entry(8443)])
    expect(await stealTls.agentConfig(parseTarget("deployment/web"), "shop")).toMatch(/^[A-Za-z0-9+/]+$/)
    expect((await ports("pod/web-0"))?.map(({ port }) => port)).toEqual([8443])
    expect(await ports("targetless")).toBeUndefined()
  })

  test.each([
    ["no selector", undefined, true],
    ["an empty selector", {}, true],
    ["a label that is there", { matchLabels: { tier: "front" } }, true],
    ["a label that is not", { matchLabels: { tier: "back" } }, false],
    ["In", { matchExpressions: [{ key: "tier", operator: "In", values: ["front", "x"] }] }, true],
    ["NotIn of what is there", { matchExpressions: [{ key: "tier", operator: "NotIn", values: ["front"] }] }, false],
    ["NotIn of a missing label", { matchExpressions: [{ key: "zone", operator: "NotIn", values: ["a"] }] }, true],
    [
      "DoesNotExist",
      { matchLabels: null, matchExpressions: [{ key: "zone", operator: "DoesNotExist", values: null }] },
      true,
    ],
    ["both", { matchLabels: { tier: "front" }, matchExpressions: [{ key: "zone", operator: "Exists" }] }, false],
  ])("%s", async (_, selector, applies) => {
    const { portsOf, asked } = cluster([{ name: "a", namespace: "shop", spec: { selector, ports: [entry(443)] } }], {
      tier: "front",
    })
    expect(await portsOf("deployment/web")).toEqual(applies ? [443] : undefined)
    const own = "/apis/apps/v1/namespaces/shop/deployments/web"
    expect(asked.includes(own)).toBe(selector !== undefined && Object.keys(selector).length > 0)
  })

  test("of several for one port the namespace's own, then the first by name; the others are named once", async () => {
    const { ports, warnings } = cluster([
      { name: "z", namespace: "shop", spec: { ports: [entry(443, "z")] } },
      { name: "b", spec: { ports: [entry(443, "b"), entry(444, "b")] } },
      { name: "a", spec: { ports: [entry(444, "a")] } },
    ])
    for (let round = 0; round < 2; round++)
      expect(await ports("deployment/web")).toEqual([entry(443, "z"), entry(444, "a")])
    expect(warnings.map(({ name, reason }) => [name, reason])).toEqual([
      ["b", "PortTaken"],
      ["b", "PortTaken"],
    ])
  })

  test.each([
    ["no port", { ports: [{ ...entry(443), port: 0 }] }, "spec.ports.0.port"],
    ["no key", { ports: [{ ...entry(443), agentAsServer: { authentication: { certPem: "/a" } } }] }, "keyPem"],
    [
      "an ALPN name no agent takes",
      { ports: [{ ...entry(443), agentAsServer: { ...entry(443).agentAsServer, alpnProtocols: [""] } }] },
      "alpnProtocols",
    ],
    ["no specification", undefined, "spec."],
    [
      "more than fits",
      { ports: Array.from({ length: 600 }, (_, index) => entry(1000 + index, "x".repeat(50))) },
      "bytes",
    ],
  ])("an object with %s is left out and named, the others stay", async (_, spec, message) => {
    const { portsOf, warnings } = cluster([
      { name: "bad", namespace: "shop", spec },
      { name: "good", namespace: "shop", spec: { ports: [entry(443)] } },
    ])
    expect(await portsOf("deployment/web")).toEqual([443])
    expect(warnings).toEqual([{ name: "bad", reason: expect.any(String), message: expect.stringContaining(message) }])
  })

  test.each([
    ["kinds that are not installed", 404],
    ["kinds the operator may not list", 403],
    ["an API server in trouble", 500],
  ])("%s take nothing else away", async (_, status) => {
    const refused = statusError("list", status, "")
    const objects = [{ name: "b", spec: { ports: [entry(8443)] } }]
    expect(await cluster(objects, {}, { [lists.shop]: refused }).portsOf("deployment/web")).toEqual([8443])
    expect(await cluster(objects, {}, { [lists.cluster]: refused }).portsOf("deployment/web")).toBeUndefined()
  })

  test("labels that cannot be read leave out only what asks for them", async () => {
    const objects = [
      { name: "a", namespace: "shop", spec: { selector: { matchLabels: { app: "web" } }, ports: [entry(443)] } },
      { name: "b", namespace: "shop", spec: { ports: [entry(444)] } },
    ]
    const path = "/apis/apps/v1/namespaces/shop/deployments/web"
    expect(await cluster(objects, { app: "web" }).portsOf("deployment/web")).toEqual([443, 444])
    expect(await cluster(objects, {}, { [path]: statusError("get", 500, "") }).portsOf("deployment/web")).toEqual([444])
  })
})
