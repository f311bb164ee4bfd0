import { expect, test } from "bun:test"
import { examine, formatFindings } from "./doctor.ts"
import { machineChecks } from "./machine-checks.ts"

const able = { unavailable: async () => undefined, restriction: async () => undefined }
const scope = "/proc/sys/kernel/yama/ptrace_scope"

/** State of one finding of the machine, by its name. */
async function machine(
  name: string,
  files: Record<string, string>,
  engine: Parameters<typeof machineChecks>[0] = able,
) {
  const findings = await examine(machineChecks(engine, (path) => files[path]))
  return findings.find((finding) => finding.name === name)!
}

test.each<[scope: string | undefined, state: string]>([
  [undefined, "ok"],
  ["0", "ok"],
  ["1", "ok"],
  ["2", "warning"],
  ["3", "warning"],
])("ptrace_scope %s is %s", async (value, state) => {
  const finding = await machine("ptrace scope", value === undefined ? {} : { [scope]: value })
  expect(finding.state).toBe(state as typeof finding.state)
  if (state === "warning") expect(finding.next).toContain("kernel.yama.ptrace_scope=1")
})

test("what the engine lacks is a problem with its next step", async () => {
  const lack = { code: "engine-kernel-too-old", reason: "The kernel is 4.19", next: "Update the kernel." }
  const finding = await machine("process engine", {}, { ...able, unavailable: async () => lack })
  expect(finding).toEqual({ name: "process engine", state: "problem", detail: lack.reason, next: lack.next })
  expect(formatFindings([finding])).toBe("x process engine: The kernel is 4.19\n    Update the kernel.\n")
  expect((await machine("process engine", {})).state).toBe("ok")
  const limited = await machine("process engine", {}, { ...able, restriction: async () => "sockets are made here" })
  expect(limited).toMatchObject({ state: "warning", detail: "works, with limits: sockets are made here" })
})
