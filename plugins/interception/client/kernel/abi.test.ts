import { expect, test } from "bun:test"
import { numbersOfHeaders, statOfHeaders } from "../../../../test/fakes/kernel-headers.ts"
import { architectureOf, callNames, type StatLayout } from "./abi.ts"

for (const name of ["x64", "arm64"] as const) {
  const wanted = numbersOfHeaders(name)
  const known = [...callNames(architectureOf(name)!)]

  test.skipIf(!wanted)(`calls of ${name} have the numbers of the kernel's headers`, () => {
    expect(known).toEqual(known.map(([number, call]) => [wanted!(call, number)!, call]))
    expect(known.length).toBeGreaterThan(70)
  })
  test.skipIf(!wanted)(`calls ${name} is said not to have are in no header of it`, () => {
    const names = new Set<string>(known.map(([, call]) => call))
    const others = [...callNames(architectureOf("x64")!).values()].filter((call) => !names.has(call))
    expect(others.filter((call) => wanted!(call) !== undefined)).toEqual([])
  })
}

const header = statOfHeaders()
test.skipIf(!header)("struct stat of arm64 is that of the kernel's header", () => {
  const { bytes, fields, times }: StatLayout = architectureOf("arm64")!.stat
  const places = Object.entries({
    ...fields,
    ...Object.fromEntries(Object.entries(times).map(([name, at]) => [name, [at, 8] as const])),
  })
  expect(places).toEqual(places.map(([name]) => [name, header!.fields.get(name)! as [number, 4 | 8]]))
  expect(bytes).toBe(header!.bytes)
})
