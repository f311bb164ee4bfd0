import { expect, test } from "bun:test"
import { statusError, transportError } from "./errors.ts"

test.each<[status: number, body: string, code: string, message: string, next: RegExp | undefined]>([
  [401, "", "kube-unauthorized", "HTTP status 401", /Log in/],
  [403, '{"message":"pods is forbidden"}', "kube-forbidden", "pods is forbidden", /owner/],
  [404, '{"message":"no such pod","reason":"NotFound"}', "kube-not-found", "no such pod", /name and namespace/],
  [409, "conflict ", "kube-conflict", "conflict", /try again/],
  [410, "", "kube-expired", "HTTP status 410", /Try again/],
  [429, "", "kube-busy", "HTTP status 429", /in a few seconds/],
  [499, "", "kube-failed", "HTTP status 499", undefined],
  [500, "<html>bad gateway</html>", "kube-failed", "<html>bad gateway</html>", /API server/],
  [500, '["message"]', "kube-failed", '["message"]', /API server/],
  [500, "null", "kube-failed", "null", /API server/],
  [500, '"message"', "kube-failed", '"message"', /API server/],
  [500, '{"message":7,"reason":{},"code":"x"}', "kube-failed", "HTTP status 500", /API server/],
])("status %d with the body %p is the error %s", (status, body, code, message, next) => {
  const error = statusError("try", status, body)
  expect(error).toMatchObject({ code, status, message: `Cannot try: ${message}` })
  expect(error.next ?? "").toMatch(next ?? /^$/)
  for (const part of [error.body.message, error.body.reason]) expect(["string", "undefined"]).toContain(typeof part)
  expect(["number", "undefined"]).toContain(typeof error.body.code)
})

test("of a page that is no answer of Kubernetes the beginning is shown", () => {
  expect(statusError("try", 503, "x".repeat(1000)).message).toBe(`Cannot try: ${"x".repeat(300)}`)
})

test.each([
  ["7", 7],
  ["0", 0],
  [null, undefined],
  ["", undefined],
  ["-1", undefined],
  ["1.5", undefined],
  ["9999999", undefined],
  ["Wed, 21 Oct 2026 07:28:00 GMT", undefined],
])("Retry-After %p is %p seconds", (header, seconds) => {
  expect(statusError("try", 429, "", header).retryAfterSeconds).toBe(seconds)
})

const failure = (code: string, message = "x") => Object.assign(new Error(message), code === "" ? {} : { code })

test.each<[what: string, thrown: unknown, code: string]>([
  ["an expired certificate", failure("CERT_HAS_EXPIRED"), "kube-certificate-time"],
  ["one of the future", failure("", "certificate is not yet valid"), "kube-certificate-time"],
  ["one of its own", failure("DEPTH_ZERO_SELF_SIGNED_CERT"), "kube-tls"],
  ["one of nobody's", failure("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), "kube-tls"],
  ["one told in words", failure("", "self signed certificate"), "kube-tls"],
  ["nobody there", failure("ECONNREFUSED"), "kube-unreachable"],
  ["a text", "a text", "kube-unreachable"],
  ["nothing", null, "kube-unreachable"],
])("%s on the way is told as what it is", (_, thrown, code) => {
  const direct = transportError("try", { url: "https://a:1" }, thrown)
  expect(direct.code).toBe(code)
  expect(direct.message).toContain("https://a:1")
  expect(direct.message).not.toContain("proxy")
  if (code !== "kube-unreachable") return
  expect(direct.next).toContain("kubectl")
  const proxied = transportError("try", { url: "https://a:1", via: "http://p:2" }, thrown)
  expect(proxied.message).toContain("by the proxy http://p:2")
  expect(proxied.next).toContain("HTTPS_PROXY")
})

test("what has been said in full already stays as it is", () => {
  const said = statusError("try", 403, "")
  expect(transportError("try again", { url: "https://a:1" }, said)).toBe(said)
})
