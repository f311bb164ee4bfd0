import { expect, test } from "bun:test"
import { walkOf, walkRecord } from "./search-walk.ts"

const address = { name: "api.shop.", ip: "10.0.0.7" }

test.each([
  [
    "a name found at its third full name",
    [address, walkRecord({ codes: [3, 3, 0], milliseconds: 812.7 })],
    [3, 3, 0],
    812,
  ],
  ["a name found nowhere", [walkRecord({ codes: [3, 0, 3], milliseconds: 0 })], [3, 0, 3], 0],
  ["a name the list was not needed for", [address, walkRecord({ codes: [], milliseconds: 5 })], [], 5],
])("%s is told", (_, records, codes, milliseconds) => {
  expect(walkOf(records)).toEqual({ codes, milliseconds })
})

test.each([
  ["what mirrord's agent answers", [address]],
  ["nothing", []],
  ["a record that is not the last", [walkRecord({ codes: [0], milliseconds: 5 }), address]],
  ["a name that only looks like it", [{ ...address, name: "+podside-walk.5.0." }]],
  ["more full names than a list makes", [walkRecord({ codes: Array(65).fill(3), milliseconds: 5 })]],
  ["a number beyond all measure", [{ ...address, name: "+podside-walk.9999999999.0" }]],
])("%s tells no walk", (_, records) => {
  expect(walkOf(records)).toBeUndefined()
})
