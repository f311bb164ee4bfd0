import { expect, test } from "bun:test"
import { type AcceptedRequest, maxHeadBytes, UpgradeRequest } from "./upgrade-request.ts"

const headers = ["Host: 10.0.0.7:40000", "Connection: Upgrade", "Upgrade: podside-agent"]
const head = (lines: readonly string[] = headers, first = "GET / HTTP/1.1") =>
  Buffer.from(`${[first, ...lines].join("\r\n")}\r\n\r\n`, "latin1")
/** What comes out of a request that arrives in one piece: the text of what follows it. */
const outcomeOf = (bytes: Uint8Array) => {
  const outcome = new UpgradeRequest().push(bytes)
  if (typeof outcome === "string") return outcome
  const rest = Buffer.from(outcome.rest).toString("latin1")
  return outcome.moveToken === undefined ? `then "${rest}"` : `moves ${outcome.moveToken}, then "${rest}"`
}

test("a request split at any byte, or at all of them, reads the same, and what follows is untouched", () => {
  const bytes = Buffer.concat([head(), Buffer.from("\r\n\r\nmessages")])
  for (let at = 1; at < bytes.length; at++) {
    const request = new UpgradeRequest()
    const outcomes = [bytes.subarray(0, at), bytes.subarray(at)].map((piece) => request.push(piece))
    const [last] = outcomes.filter((outcome) => outcome !== "incomplete")
    const rest = Buffer.from((last as AcceptedRequest).rest).toString()
    // Once the head is whole nobody gives more to the request.
    expect(rest).toBe(at < head().length ? "\r\n\r\nmessages" : bytes.subarray(head().length, at).toString())
  }
  const request = new UpgradeRequest()
  const outcomes = [...head()].map((byte) => request.push(Uint8Array.of(byte)))
  expect(outcomes.pop()).toEqual({ rest: new Uint8Array(0) })
  expect(new Set(outcomes)).toEqual(new Set(["incomplete"]))
})

test.each<[sentence: string, lines: string[]]>([
  ["as the API server passes it on", [...headers, "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Uri: /api/v1/x"]],
  ["with names and token in other letters", ["CONNECTION: UPGRADE", "uPgRaDe: PODSIDE-AGENT"]],
  ["with other options of the connection", ["Connection: keep-alive , Upgrade", "Upgrade: podside-agent"]],
  ["with Connection twice", ["Connection: keep-alive", "Connection: Upgrade", "Upgrade:podside-agent"]],
  ["with an empty body", [...headers, "Content-Length: 0"]],
])("a request %s is one", (_, lines) => {
  expect(outcomeOf(head(lines))).toBe('then ""')
})

test("a request for a client that is connected already names it", () => {
  const token = "0123456789abcdef".repeat(2)
  expect(outcomeOf(head([...headers, `Podside-Move: ${token}`]))).toBe(`moves ${token}, then ""`)
})

test.each<[sentence: string, bytes: Uint8Array]>([
  ["whose token is too short", head([...headers, "Podside-Move: 0123"])],
  ["with two tokens", head([...headers, ...Array(2).fill(`Podside-Move: ${"0".repeat(32)}`)])],
  ["that wants no upgrade", head(["Host: a"])],
  ["for another upgrade", head(["Connection: Upgrade", "Upgrade: websocket"])],
  ["for two upgrades", head([...headers, "Upgrade: websocket"])],
  ["whose Connection does not name the upgrade", head(["Upgrade: podside-agent"])],
  ["whose Connection only contains the word", head(["Connection: Upgrade-Not", "Upgrade: podside-agent"])],
  ["with a body", head([...headers, "Content-Length: 5"])],
  ["with an empty body and another", head([...headers, "Content-Length: 0", "Content-Length: 5"])],
  ["with a body of unknown length", head([...headers, "Transfer-Encoding: chunked"])],
  ["of another method", head(headers, "GETS / HTTP/1.1")],
  ["of another version", head(headers, "GET / HTTP/1.0")],
  ["with spaces in its path", head(headers, "GET / / HTTP/1.1")],
  ["with a folded line", head([...headers, " podside-agent"])],
  ["with a space before the colon", head(["Host : a", ...headers])],
  ["with a line without colon", head(["Host", ...headers])],
  ["with a lone line feed in a value", head(["A: b\nUpgrade: podside-agent", ...headers])],
  ["with a lone carriage return in a value", head(["A: b\rc", ...headers])],
  ["with a zero byte", head(["A: b\0", ...headers])],
  ["with nothing but the letter and the end", Buffer.from("G\r\n\r\n")],
])("a request %s is refused", (_, bytes) => {
  expect(outcomeOf(bytes)).toBe("refused")
})

test("a head may be as long as the limit, and not longer, whether it ends or not", () => {
  const long = (bytes: number) => head([...headers, `A: ${"x".repeat(bytes - head().length - 5)}`])
  expect(long(maxHeadBytes)).toHaveLength(maxHeadBytes)
  expect(outcomeOf(long(maxHeadBytes))).toBe('then ""')
  expect(outcomeOf(long(maxHeadBytes + 1))).toBe("refused")
  expect(outcomeOf(Buffer.alloc(64 << 20, "G"))).toBe("refused")
  const slow = new UpgradeRequest()
  const outcomes = Array.from({ length: maxHeadBytes }, () => slow.push(Buffer.from("G")))
  expect(outcomes.indexOf("refused")).toBe(maxHeadBytes - 1)
})

test("random bytes behind a good beginning never throw and never pass", () => {
  const alphabet = Buffer.from("GET /HTP1.:\r\n \t\0\xff-Upgradeconio,podsidt", "latin1")
  for (let round = 0; round < 3000; round++) {
    const request = new UpgradeRequest()
    let outcome: ReturnType<UpgradeRequest["push"]> = request.push(Buffer.from("GET "))
    for (let piece = 0; piece < 20 && outcome === "incomplete"; piece++) {
      const bytes = Buffer.from(
        crypto.getRandomValues(new Uint8Array(24)).map((byte) => alphabet[byte % alphabet.length]!),
      )
      outcome = request.push(bytes)
    }
    expect(typeof outcome).toBe("string")
  }
})
