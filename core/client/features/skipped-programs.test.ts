import { expect, test } from "bun:test"
import { skippedPrograms } from "./skipped-programs.ts"

const isSkipped = (name: string, config: Partial<Parameters<typeof skippedPrograms>[0]>) =>
  skippedPrograms({
    skip_processes: undefined,
    skip_build_tools: true,
    skip_extra_build_tools: undefined,
    ...config,
  }).includes(name)

test.each([
  ["a build tool, unless told otherwise", "cargo", {}, true],
  ["an ordinary program is not", "node", {}, false],
  ["no build tool, when told so", "cargo", { skip_build_tools: false }, false],
  ["more build tools", "make", { skip_extra_build_tools: ["make"] }, true],
  [
    "more build tools count only with the others",
    "make",
    { skip_extra_build_tools: ["make"], skip_build_tools: false },
    false,
  ],
  ["programs that are named", "node", { skip_processes: ["node"], skip_build_tools: false }, true],
  ["the IDE's part of a debugger", "*JetBrains.Debugger.Worker", { skip_build_tools: false }, true],
  ["an empty name names nothing", "", { skip_processes: [""] }, false],
] as const)("%s", (_, name, config, expected) => {
  expect(isSkipped(name, config as never)).toBe(expected)
})
