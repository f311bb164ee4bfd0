import { expect, test } from "bun:test"
import { fuzz } from "../../test/cases/protocol/fuzz.ts"
import { goldenMessages } from "../../test/cases/protocol/vectors.ts"

const golden = await goldenMessages()

test("24 000 hostile inputs give a message, an error with a code, or incomplete", () => {
  for (const seed of [1, 2, 3]) {
    const tally = fuzz(golden, 8000, seed)
    expect(tally.message).toBeGreaterThan(500)
    expect(tally.incomplete).toBeGreaterThan(500)
    // Every kind of refusal was reached.
    expect([...tally.errors.keys()].sort()).toEqual([
      "protocol-bad-bool",
      "protocol-bad-http",
      "protocol-bad-option",
      "protocol-bad-tag",
      "protocol-bad-text",
      "protocol-bad-version",
      "protocol-too-deep",
      "protocol-too-large",
      "protocol-too-many",
      "protocol-wide-integer",
    ])
  }
})
