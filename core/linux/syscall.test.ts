import { expect, test } from "bun:test"
import { numbersOfHeaders } from "../../test/fakes/kernel-headers.ts"
import { callNumbers } from "./syscall.ts"

for (const [column, name] of (["x64", "arm64"] as const).entries()) {
  const wanted = numbersOfHeaders(name)
  test.skipIf(!wanted)(`calls of ${name} have the numbers of the kernel's headers`, () => {
    const known = Object.entries(callNumbers).map(([call, numbers]) => [call, numbers[column] as number] as const)
    expect(known).toEqual(known.map(([call, number]) => [call, wanted!(call, number)!]))
    expect(known.length).toBeGreaterThan(60)
  })
}
