import { expect, test } from "bun:test"
import { lifeOf, lifeRecord } from "./lookup-life.ts"

const address = { name: "api.shop.", ip: "10.0.0.7" }

test.each([
  ["records that hold", [address, lifeRecord({ code: 0, milliseconds: 812.7 })], { code: 0, milliseconds: 812 }],
  ["no such name, of no time", [lifeRecord({ code: 3, milliseconds: 0 })], { code: 3, milliseconds: 0 }],
  ["what mirrord's agent answers", [address], undefined],
  ["nothing", [], undefined],
  ["a record that is not the last", [lifeRecord({ code: 0, milliseconds: 5 }), address], undefined],
  ["a name that only looks like it", [{ ...address, name: "+podside-life.0.5." }], undefined],
  ["a number beyond all measure", [{ ...address, name: "+podside-life.0.9999999999" }], undefined],
])("the life of %s", (_, records, life) => {
  expect(lifeOf(records)).toEqual(life)
})
