import { expect, test } from "bun:test"
import { AppError } from "../../errors.ts"
import { statusError } from "../../kube/errors.ts"
import { failureHeaders, toStatusError } from "./status.ts"

const answered = (status: number) => statusError("list pods in shop", status, "{}")

test.each([
  ["the API server has too much to do", answered(429), 503, "1"],
  ["the API server is not there for a moment", answered(503), 503, "1"],
  ["its storage does not answer in time", answered(504), 503, "1"],
  ["it cannot be reached", new AppError("kube-unreachable", "no connection"), 503, "1"],
  ["it refuses", answered(403), 403, undefined],
  ["it has a fault", answered(500), 500, undefined],
  ["something nobody expected", new Error("a secret"), 500, undefined],
])("%s: clients are told whether to try again", (_what, thrown, code, retryAfter) => {
  const refusal = toStatusError(thrown)
  expect(refusal.code).toBe(code)
  expect(failureHeaders(refusal)["retry-after"]).toBe(retryAfter)
  expect(refusal.message).not.toContain("secret")
})
