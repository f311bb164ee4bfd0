import { expect, test } from "bun:test"
import { fieldSelector, labelSelector } from "./selectors.ts"

const labels = { app: "web", "example.com/tier": "front", empty: "" }

test.each([
  ["", true],
  ["app=web", true],
  ["app==web", true],
  ["app = web, example.com/tier=front", true],
  ["app=web,example.com/tier=back", false],
  ["app!=web", false],
  ["none!=web", true],
  ["app in (api, web)", true],
  ["app in (api)", false],
  ["app notin (api, db),app", true],
  ["app notin (web)", false],
  ["none notin (web)", true],
  ["none in (web)", false],
  ["app", true],
  ["!app", false],
  ["!none", true],
  ["none", false],
  ["empty=", true],
  ["none=", false],
  ["constructor", false],
] as const)("labels fit %p: %p", (text, fits) => {
  expect(labelSelector(text)(labels)).toBe(fits)
})

test.each(["app=web,=", "app in web", "app>1", "-app", "app=we b", "app in (a;b)", "a/b/c"])(
  "labels cannot be selected by %p",
  (text) => {
    expect(() => labelSelector(text)).toThrow(expect.objectContaining({ code: 400 }))
  },
)

test("a selector is read up to a limit", () => {
  const long = `app in (${"x,".repeat(8_000)}web)`
  expect(labelSelector(long)(labels)).toBe(true)
  for (const read of [labelSelector, (text: string) => fieldSelector(text, fields)]) {
    expect(() => read(long + long)).toThrow(expect.objectContaining({ code: 400 }))
  }
})

const fields = { "metadata.name": ({ name }: { name: string }) => name, key: () => "a,b=c" }

test.each([
  ["", true],
  ["metadata.name=web", true],
  ["metadata.name!=web", false],
  ["metadata.name==web,key=a\\,b\\=c", true],
  ["metadata.name=web,key=other", false],
] as const)("fields fit %p: %p", (text, fits) => {
  expect(fieldSelector(text, fields)({ name: "web" })).toBe(fits)
})

test.each(["spec.user=ann", "metadata.name", "metadata.name=a=b", "toString=x", "metadata.name=a\\"])(
  "fields cannot be selected by %p",
  (text) => {
    expect(() => fieldSelector(text, fields)).toThrow(expect.objectContaining({ code: 400 }))
  },
)
