import { describe, expect, test } from "bun:test"
import { readSessionId } from "./client-headers.ts"
import { readConnectParams } from "./connect-params.ts"
import { configForm, parseTargetName, targetName } from "./target-name.ts"
import { splitUrl } from "./upgrade-request.ts"

describe("target names in URLs", () => {
  test.each([
    ["deployment.shop", { kind: "deployment", name: "shop" }],
    ["deploy.shop", { kind: "deployment", name: "shop" }],
    ["pod.web-0.container.app", { kind: "pod", name: "web-0", container: "app" }],
    ["statefulset.a.b.c", { kind: "statefulset", name: "a.b.c" }],
    ["rollout.my.container.x.container.y", { kind: "rollout", name: "my.container.x", container: "y" }],
    ["service.web", { kind: "service", name: "web" }],
    ["targetless", { kind: "targetless" }],
  ] as const)("%s", (name, target) => expect(parseTargetName(name)).toEqual(target))

  test.each([
    "shop",
    "gadget.shop",
    "deployment.",
    ".shop",
    "deployment.Shop",
    "deployment.a/b",
    "deployment.a%2fb",
    "deployment...",
    "pod.web.container.",
    `pod.${"a".repeat(254)}`,
    "label",
    "__proto__.shop",
    "constructor.shop",
  ])("%p is refused", (name) => expect(() => parseTargetName(name)).toThrow())

  test("a label target takes its labels from beside the name", () => {
    expect(parseTargetName("label", { labels: { app: "web" } })).toEqual({ kind: "label", labels: { app: "web" } })
    expect(() => parseTargetName("label", { labels: {} })).toThrow(/label_target/)
  })

  test("what was read is written the way RBAC rules name it, and shown in configuration form", () => {
    const target = parseTargetName("deploy.shop.container.app")
    expect(targetName(target)).toBe("deployment.shop.container.app")
    expect(configForm(target)).toEqual({ deployment: "shop", container: "app" })
    expect(configForm(parseTargetName("statefulset.db"))).toEqual({ stateful_set: "db", container: null })
    expect(targetName(parseTargetName("deploy.shop"))).toBe("deployment.shop")
    expect(targetName({ kind: "targetless" })).toBe("targetless")
    expect(targetName({ kind: "label", labels: { app: "web" }, container: "app" })).toBe("label")
    expect(configForm({ kind: "targetless" })).toBeNull()
  })
})

describe("connect parameters", () => {
  const inHeader = (text: string) => ({ "x-mirrord-connect-params": Buffer.from(text).toString("base64") })

  test("the header counts alone when it is there", () => {
    const params = readConnectParams(
      "connect=true&key=query",
      inHeader("connect=true&key=a+b&on_concurrent_steal=override"),
    )
    expect(params).toMatchObject({ key: "a b", on_concurrent_steal: "override" })
  })

  test("unknown ones are ignored, absent ones have their defaults", () => {
    expect(readConnectParams("connect=true&brand_new=1", {})).toEqual({ connect: "true", on_concurrent_steal: "abort" })
  })

  test("labels are JSON", () => {
    const label = encodeURIComponent('{"labels":{"app":"web"},"container":null}')
    expect(readConnectParams(`connect=true&label_target=${label}`, {}).label_target).toEqual({
      labels: { app: "web" },
      container: null,
    })
  })

  test.each([
    ["a second label in a value", { app: "web,tier=front" }],
    ["a container in a value", { app: "web/container/db" }],
    ["an expression for a key", { "app in (web)": "" }],
    ["nothing for a key", { "": "web" }],
    ["no label at all", {}],
  ])("labels with %s are a bad request", (_what, labels) => {
    const label = encodeURIComponent(JSON.stringify({ labels }))
    const read = () => readConnectParams(`connect=true&label_target=${label}`, {}).label_target
    const target = () => parseTargetName("label", { labels: read()!.labels })
    expect(target).toThrow(expect.objectContaining({ code: 400 }))
  })

  test.each([
    [
      "of every form Kubernetes has",
      { labels: { "app.kubernetes.io/name": "My_web.1", tier: "" }, container: "app-1" },
    ],
    ["a container that cannot be one", { labels: { app: "web" }, container: "a/b" }],
  ])("labels and a container: %s", (_what, label) => {
    const query = `connect=true&label_target=${encodeURIComponent(JSON.stringify(label))}`
    if (label.container.includes("/")) expect(() => readConnectParams(query, {})).toThrow(/container's name/)
    else expect(readConnectParams(query, {}).label_target).toEqual(label)
  })

  test("a question mark in a value is a part of it", () => {
    const [path, query] = splitUrl("/path?connect=true&key=who?me")
    expect([path, readConnectParams(query, {}).key]).toEqual(["/path", "who?me"])
  })

  test.each([
    ["no connect", "key=a"],
    ["a value that is not one of the three", "connect=true&on_concurrent_steal=maybe"],
    ["a repeated one", "connect=true&key=a&key=b"],
    ["labels that are not JSON", "connect=true&label_target=%7B"],
    ["labels of the wrong shape", "connect=true&label_target=%5B%5D"],
    ["a megabyte", `connect=true&key=${"k".repeat(1 << 20)}`],
  ])("%s is a bad request", (_what, query) => {
    expect(() => readConnectParams(query, {})).toThrow(expect.objectContaining({ code: 400 }))
  })

  test.each(["sqs_splits", "azure_service_bus_splits", "queue_modes", "pg_branch_names", "branch_db_names"])(
    "%s asks for what is not there and is refused",
    (name) => {
      expect(() => readConnectParams(`connect=true&${name}=%7B%7D`, {})).toThrow(expect.objectContaining({ code: 403 }))
    },
  )

  test.each([
    ["queues are left out when the client leaves the choice to us", "sqs_splits", true],
    ["database branches are refused even so", "pg_branch_names", false],
  ])("with automatic splitting %s", (_what, name, allowed) => {
    const query = `connect=true&${name}=%7B%7D&up_session_info=${encodeURIComponent('{"autoQueueSplitting":true}')}`
    const refused = expect.objectContaining({ code: 403 })
    if (allowed) expect(readConnectParams(query, {})).toMatchObject({ connect: "true" })
    else expect(() => readConnectParams(query, {})).toThrow(refused)
  })
})

test.each([
  ["0", 0n],
  ["18446744073709551615", 18446744073709551615n],
  ["12, 12", 12n],
])("session id %s", (text, id) => expect(readSessionId({ "x-session-id": text })).toBe(id))

test.each(["18446744073709551616", "-1", "0x10", "ff", "1.5", " "])("session id %p is refused", (text) => {
  expect(() => readSessionId({ "x-session-id": text })).toThrow()
})
