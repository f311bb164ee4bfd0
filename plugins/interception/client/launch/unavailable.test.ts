import { expect, test } from "bun:test"
import { restrictionOf } from "../kernel/rung.ts"
import { kernelTooOld, type Machine, rungHere, whyUnavailable } from "./unavailable.ts"

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

const files: Record<string, string> = {
  "/proc/sys/kernel/seccomp/actions_avail": "kill_process kill_thread trap errno user_notif trace log allow",
  "/proc/sys/kernel/yama/ptrace_scope": "1",
  "/proc/self/status": "Name:\tpodside\nCapEff:\t0000000000000000\n",
}
const machine = (differs: Partial<Machine> = {}, other: Record<string, string> = {}): Machine => ({
  platform: "linux",
  arch: "x64",
  release: "6.1.0",
  textOf: (path) => ({ ...files, ...other })[path],
  userNamespaces: () => true,
  ...differs,
})
const scope = "/proc/sys/kernel/yama/ptrace_scope"
const tracer = { "/proc/self/status": "CapEff:\t0000000000080000" }

test.each<[facts: string, machine: Machine, code: string | undefined, next: string]>([
  ["an ordinary machine", machine(), undefined, ""],
  ["another system", machine({ platform: "darwin" }), "engine-platform", "port-forward"],
  ["another processor", machine({ arch: "riscv64" }), "engine-platform", "port-forward"],
  ["an old kernel", machine({ release: "5.4.0" }), "engine-kernel-too-old", "Update the kernel"],
  [
    "a kernel without notification",
    machine({}, { "/proc/sys/kernel/seccomp/actions_avail": "kill allow" }),
    "engine-no-seccomp",
    "CONFIG_SECCOMP_FILTER",
  ],
  ["ptrace_scope 2 with user namespaces", machine({}, { [scope]: "2" }), undefined, ""],
  [
    "ptrace_scope 2 without",
    machine({ userNamespaces: () => false }, { [scope]: "2" }),
    "engine-ptrace-scope",
    "ptrace_scope=1",
  ],
  ["ptrace_scope 3", machine({}, { [scope]: "3" }), "engine-ptrace-scope", "restart of the machine"],
  ["ptrace_scope 2 for somebody who may trace", machine({}, { [scope]: "2", ...tracer }), undefined, ""],
  [
    "ptrace_scope 3, where that does not help",
    machine({}, { [scope]: "3", ...tracer }),
    "engine-ptrace-scope",
    "restart",
  ],
])("%s", (_, facts, code, next) => {
  const lack = whyUnavailable(facts)
  expect(lack?.code).toBe(code as string)
  expect(lack?.next ?? "").toContain(next)
})

test.each<[facts: string, machine: Machine, userNamespace: boolean]>([
  ["an ordinary machine needs no user namespace", machine(), false],
  ["ptrace_scope 2 does", machine({}, { [scope]: "2" }), true],
  ["not for somebody who may trace", machine({}, { [scope]: "2", ...tracer }), false],
])("%s", (_, facts, userNamespace) => {
  const rung = rungHere(facts)
  expect(rung).toEqual({ descriptors: "fetched", userNamespace })
  expect(restrictionOf(rung) === undefined).toBe(!userNamespace)
})
