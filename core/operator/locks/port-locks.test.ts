import { expect, test } from "bun:test"
import { clash, type PortLock } from "./port-locks.ts"

const lock = (sessionId: string, more: Partial<PortLock> = {}): PortLock => ({
  sessionId,
  targetKey: "shop/deployment/web",
  port: 80,
  mode: "steal",
  pods: ["web-1", "web-2"],
  ...more,
})

test.each([
  ["both without a filter", {}, {}, true],
  ["an unfiltered one after a filtered one", { filter: "header a" }, {}, true],
  ["a filtered one after an unfiltered one", {}, { filter: "header a" }, true],
  ["both with a filter", { filter: "header a" }, { filter: "header b" }, false],
  ["different ports", {}, { port: 81 }, false],
  ["different targets", {}, { targetKey: "shop/deployment/api", pods: ["api-1"] }, false],
  ["a pod and the workload it belongs to", {}, { targetKey: "shop/pod/web-2", pods: ["web-2"] }, true],
  ["two pods of one workload", { pods: ["web-1"] }, { targetKey: "shop/pod/web-2", pods: ["web-2"] }, false],
  ["pods of one name in two namespaces", {}, { targetKey: "bank/deployment/web" }, false],
  ["mirroring beside stealing", {}, { mode: "mirror" as const }, false],
])("two sessions, %s", (_what, first, second, clashes) => {
  expect(clash(lock("A", first), lock("B", second))).toBe(clashes)
  expect(clash(lock("A", first), lock("A", second))).toBe(false)
})
