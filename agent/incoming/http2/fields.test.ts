import { expect, test } from "bun:test"
import { outgoingRequest, readRequestFields, requestFields, responseFields, trailerFields } from "./fields.ts"
import type { HeaderField } from "./hpack.ts"

const usual: HeaderField[] = [
  [":method", "GET"],
  [":scheme", "https"],
  [":authority", "app:8443"],
  [":path", "/a?b"],
  ["x-user", "me"],
  ["cookie", "a=1"],
  ["cookie", "b=2"],
]
const pseudo = usual.filter(([name]) => name.startsWith(":"))
/** The usual fields, of which those with a new value have that; undefined: they are not there. */
const changed = (changes: Record<string, string | undefined>): HeaderField[] =>
  usual.flatMap(([name, value]): HeaderField[] => {
    const next = name in changes ? changes[name] : value
    return next === undefined ? [] : [[name, next]]
  })

test("a request is what its fields say, for a client and for the application", () => {
  const request = readRequestFields(usual)!
  expect(outgoingRequest(request)).toEqual({
    method: "GET",
    uri: "https://app:8443/a?b",
    version: "HTTP/2.0",
    headers: new Map([
      ["x-user", ["me"]],
      ["cookie", ["a=1", "b=2"]],
    ]),
  })
  const asOneWrites = [pseudo[0]!, pseudo[1]!, pseudo[2]!, pseudo[3]!, ...usual.slice(4)]
  expect(requestFields(request)).toEqual(asOneWrites)
})

test.each<[string, HeaderField[], string]>([
  ["the host for the authority", [...changed({ ":authority": undefined }), ["host", "app"]], "https://app/a?b"],
  ["a request about the server", changed({ ":method": "OPTIONS", ":path": "*" }), "*"],
  ["a method of its own", changed({ ":method": "M-SEARCH" }), "https://app:8443/a?b"],
  ["trailers wished for", [...usual, ["te", "trailers"]], "https://app:8443/a?b"],
  ["bytes beyond ASCII in a value", [...usual, ["x", "\xe4\t"]], "https://app:8443/a?b"],
])("a client may be given one with %s", (_, fields, uri) => {
  const request = readRequestFields(fields)
  expect(request && outgoingRequest(request).uri).toBe(uri)
})

// One request that its receiver cannot read would cost a client its whole session.
test.each<[string, HeaderField[]]>([
  ["without a method", changed({ ":method": undefined })],
  ["without a path", changed({ ":path": undefined })],
  ["with an empty path", changed({ ":path": "" })],
  ["without a scheme", changed({ ":scheme": undefined })],
  ["without a host", changed({ ":authority": undefined })],
  ["that is a tunnel", changed({ ":method": "CONNECT" })],
  ["of a method that is none", changed({ ":method": "GE T" })],
  ["of a path that is none", changed({ ":path": "a/b" })],
  ["of a path with a space", changed({ ":path": "/a b" })],
  ["of an authority that is none", changed({ ":authority": "a@b@c" })],
  ["of a scheme that is none", changed({ ":scheme": "1s" })],
  ["that says something twice", [pseudo[0]!, ...usual]],
  ["that says it too late", [...usual.slice(1), [":method", "GET"]]],
  ["that says what there is not", [[":protocol", "websocket"], ...usual]],
  ["with a name in capitals", [...usual, ["X-User", "me"]]],
  ["with a name that is none", [...usual, ["x user", "me"]]],
  ["with a name that is empty", [...usual, ["", "me"]]],
  ["with a line break in a value", [...usual, ["x", "a\r\nb: c"]]],
  ["with DEL in a value", [...usual, ["x", "\x7f"]]],
  ["with a field of the connection", [...usual, ["connection", "close"]]],
  ["with a coding of the connection", [...usual, ["transfer-encoding", "chunked"]]],
  ["that wishes for other codings", [...usual, ["te", "gzip"]]],
])("no client is given one %s", (_, fields) => {
  expect(readRequestFields(fields)).toBeUndefined()
})

test("an answer keeps its headers but those of the connection, in their order", () => {
  const headers = new Map([
    ["set-cookie", ["a", "b"]],
    ["connection", ["close"]],
    ["keep-alive", ["timeout=5"]],
    ["transfer-encoding", ["chunked"]],
    ["x", ["1"]],
  ])
  expect(responseFields(404, headers, { inject: false, overrideCacheControl: false })).toEqual([
    [":status", "404"],
    ["set-cookie", "a"],
    ["set-cookie", "b"],
    ["x", "1"],
  ])
  expect(trailerFields(new Map([["x-sum", ["1", "2"]]]))).toEqual([
    ["x-sum", "1"],
    ["x-sum", "2"],
  ])
})
