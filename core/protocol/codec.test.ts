import { describe, expect, test } from "bun:test"
import {
  type ClientMessage,
  clientMessage,
  compareVersions,
  type DaemonMessage,
  daemonMessage,
  defaultLimits,
  featuresOf,
  negotiate,
  protocolVersion,
  since,
  supports,
  unnegotiatedVersion,
  Writer,
} from "./index.ts"

const fromHex = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))
const code = (code: string) => expect.objectContaining({ name: "AppError", code })
const text = (value: string) => new TextEncoder().encode(value)

describe("worked examples", () => {
  const uid = "00112233-4455-6677-8899-aabbccddeeff"
  const remote = { kind: "Ip", value: { ip: "1.2.3.4", port: 443 } } as const
  const client: [string, string, ClientMessage][] = [
    ["a ping", "07", { kind: "Ping" }],
    ["the version", "0a 06 31 2e 32 39 2e 30", { kind: "SwitchProtocolVersion", value: "1.29.0" }],
    [
      "all variables",
      "06 00 01 01 2a",
      { kind: "GetEnvVarsRequest", value: { envVarsFilter: [], envVarsSelect: ["*"] } },
    ],
    [
      "an outgoing connection, its UUID in reverse",
      "03 03 fe ff ee dd cc bb aa 99 88 77 66 55 44 33 22 11 00 00 00 01 02 03 04 fb bb 01",
      { kind: "TcpOutgoing", value: { kind: "ConnectV2", value: { uid, remoteAddress: remote } } },
    ],
    [
      "a seek to one byte before the end",
      "05 04 05 01 01",
      { kind: "FileRequest", value: { kind: "Seek", value: { fd: 5n, seekFrom: { kind: "End", value: -1n } } } },
    ],
    [
      "a steal subscription with two filters",
      "02 00 02 50 02 00 02 01 05 5e 2f 61 70 69 03 00",
      {
        kind: "TcpSteal",
        value: {
          kind: "PortSubscribe",
          value: {
            kind: "FilteredHttpEx",
            value: [
              80,
              {
                kind: "Composite",
                value: {
                  all: false,
                  filters: [
                    { kind: "Path", value: "^/api" },
                    { kind: "Method", value: { kind: "Get" } },
                  ],
                },
              },
            ],
          },
        },
      },
    ],
    [
      "trailers that end a response",
      "02 06 01 01 01 01 0b 67 72 70 63 2d 73 74 61 74 75 73 01 01 30 01 01 00",
      {
        kind: "TcpSteal",
        value: {
          kind: "HttpResponseChunked",
          value: {
            kind: "Body",
            value: {
              frames: [{ kind: "Trailers", value: new Map([["grpc-status", ["0"]]]) }],
              isLast: true,
              connectionId: 1n,
              requestId: 0,
            },
          },
        },
      },
    ],
  ]
  test.each(client)("%s to the agent", (_name, hex, message) => {
    expect(Buffer.from(clientMessage.encode(message)).toString("hex")).toBe(hex.replaceAll(" ", ""))
    expect(clientMessage.decode(fromHex(hex))).toEqual(message)
  })

  const daemon: [string, string, DaemonMessage][] = [
    [
      "the variables",
      "08 00 01 01 41 01 31",
      { kind: "GetEnvVarsResponse", value: { kind: "Ok", value: new Map([["A", "1"]]) } },
    ],
    [
      "a file that is not there",
      "06 00 01 04 01 04 00",
      {
        kind: "File",
        value: {
          kind: "Open",
          value: { kind: "Err", value: { kind: "RemoteIO", value: { rawOsError: 2, kind: { kind: "NotFound" } } } },
        },
      },
    ],
    ["the end", "00 03 62 79 65", { kind: "Close", value: "bye" }],
  ]
  test.each(daemon)("%s from the agent", (_name, hex, message) => {
    expect(Buffer.from(daemonMessage.encode(message)).toString("hex")).toBe(hex.replaceAll(" ", ""))
    expect(daemonMessage.decode(fromHex(hex))).toEqual(message)
  })
})

describe("bytes that are refused", () => {
  const request = (headers: string) =>
    `02 04 ${Buffer.from("\x03GET\x01/").toString("hex")} ${headers} 08 485454502f312e31 00 01 00 50`
  test.each([
    ["an unknown message", "12", "protocol-bad-tag"],
    ["an address family from the future", "0d 00 00 05 00 00 00", "protocol-bad-tag"],
    ["a bool of 2", "09 02", "protocol-bad-bool"],
    ["an option of 2", "05 09 02", "protocol-bad-option"],
    ["32 bits where 16 are meant", "01 00 fc 50 00 00 00", "protocol-wide-integer"],
    ["64 bits in a tag", "fd 07 00 00 00 00 00 00 00", "protocol-wide-integer"],
    [
      "128 bits where 64 are meant",
      "01 01 fe 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
      "protocol-wide-integer",
    ],
    ["a marker that means nothing", "0e ff", "protocol-wide-integer"],
    ["text that is not UTF-8", "08 02 c3 28", "protocol-bad-text"],
    ["long text that is not UTF-8", `08 1e ${"61".repeat(29)} ff`, "protocol-bad-text"],
    ["a version that is none", "0a 03 31 2e 32", "protocol-bad-version"],
    ["a version with a leading zero", "0a 06 30 31 2e 30 2e 30", "protocol-bad-version"],
    ["an address of a family there is not", "0f 02 01 02 03 04", "protocol-bad-tag"],
  ])("%s", (_name, hex, expected) => {
    expect(() => clientMessage.decodeFirst(fromHex(hex))).toThrow(code(expected))
  })
  test.each([
    ["a header name with a space", "01 03 61 20 62 01 01 63"],
    ["a header value with a line break", "01 01 61 01 03 62 0a 63"],
    ["a header value with DEL", "01 01 61 01 01 7f"],
  ])("%s", (_name, headers) => {
    expect(() => daemonMessage.decodeFirst(fromHex(request(headers)))).toThrow(code("protocol-bad-http"))
  })

  test.each([
    ["/a_b?c=d", "/a b?c=d"],
    ["http://host/", "http://ho#t/"],
    ["*", '"'],
    ["/p\xe4th", "/p\x7fth"],
    ["/", ""],
  ])("of the URIs %p and %p the second, sent and received", (good, bad) => {
    const bytes = (uri: string) => {
      const length = Buffer.byteLength(uri).toString(16).padStart(2, "0")
      return fromHex(`02 04 03474554 ${length} ${Buffer.from(uri).toString("hex")} 00 08485454502f312e31 00 01 00 50`)
    }
    const request = daemonMessage.decode(bytes(good))
    expect(daemonMessage.encode(request)).toEqual(bytes(good))
    expect(() => daemonMessage.decode(bytes(bad))).toThrow(code("protocol-bad-http"))
    const { internalRequest } = (request as { value: { value: { internalRequest: { uri: string } } } }).value.value
    internalRequest.uri = bad
    expect(() => daemonMessage.encode(request)).toThrow(code("protocol-bad-value"))
  })

  test("what looks odd but is allowed passes", () => {
    expect(daemonMessage.decode(fromHex("00 fd 03 00 00 00 00 00 00 00 62 79 65"))).toEqual({
      kind: "Close",
      value: "bye",
    })
    for (const node of ["\ufeffmark", `\ufeff${"long ".repeat(20)}`, "a\0b"]) {
      const request: ClientMessage = { kind: "GetAddrInfoRequest", value: { node } }
      expect(clientMessage.decode(clientMessage.encode(request))).toEqual(request)
    }
    expect(clientMessage.decode(fromHex("01 00 fb 05 00"))).toEqual({
      kind: "Tcp",
      value: { kind: "PortSubscribe", value: 5 },
    })
    const { value } = daemonMessage.decode(fromHex(request("02 01 41 01 03 62 09 63 01 64 00"))) as never as {
      value: { value: { internalRequest: { headers: Map<string, string[]> } } }
    }
    expect(value.value.internalRequest.headers).toEqual(new Map([["a", ["b\tc"]]]))
  })

  test("values of a header named several times are one list", () => {
    const { value } = daemonMessage.decode(
      fromHex(request("04 01 41 01 01 62 01 64 01 01 65 01 61 02 01 63 01 66 01 41 00")),
    ) as never as { value: { value: { internalRequest: { headers: Map<string, string[]> } } } }
    expect([...value.value.internalRequest.headers]).toEqual([
      ["a", ["b", "c", "f"]],
      ["d", ["e"]],
    ])
  })
})

describe("texts of any length come back as they were", () => {
  test.each([0, 1, 63, 64, 65, 96, 97, 250, 251, 8191, 8192, 70_000])("%d characters", (length) => {
    for (const character of ["x", "\xe9", "日"]) {
      const close: DaemonMessage = { kind: "Close", value: character.repeat(length) }
      expect(daemonMessage.decode(daemonMessage.encode(close))).toEqual(close)
    }
    for (const character of ["x", "\xe9", "\xff"]) {
      const headers = new Map([["x-long", [character.repeat(length), "b"]]])
      const internalResponse = { status: 200, version: "HTTP/1.1" as const, headers, body: text("z") }
      const response = { port: 80, connectionId: 1n, requestId: 0, internalResponse }
      const answer: ClientMessage = { kind: "TcpSteal", value: { kind: "HttpResponse", value: response } }
      expect(clientMessage.decode(clientMessage.encode(answer))).toEqual(answer)
    }
  })
})

describe("values that cannot be sent", () => {
  const data = (connectionId: bigint): ClientMessage => ({
    kind: "Tcp",
    value: { kind: "ConnectionUnsubscribe", value: connectionId },
  })
  const answer = (status: number, headers: [string, string[]][]): ClientMessage => ({
    kind: "TcpSteal",
    value: {
      kind: "HttpResponse",
      value: {
        port: 80,
        connectionId: 1n,
        requestId: 0,
        internalResponse: { status, version: "HTTP/1.1", headers: new Map(headers), body: text("x") },
      },
    },
  })
  const lookup = (flags: number): ClientMessage => ({
    kind: "GetAddrInfoRequestV2",
    value: {
      node: "a",
      servicePort: 0,
      family: { kind: "Any" },
      socktype: { kind: "Any" },
      flags,
      protocol: 0,
    },
  })
  test.each<[string, ClientMessage]>([
    ["an id below zero", data(-1n)],
    ["an id above 64 bits", data(1n << 64n)],
    ["a port above 65535", { kind: "Tcp", value: { kind: "PortSubscribe", value: 65_536 } }],
    ["a port that is no whole number", { kind: "Tcp", value: { kind: "PortSubscribe", value: 1.5 } }],
    ["half a surrogate pair", { kind: "GetAddrInfoRequest", value: { node: "\ud800" } }],
    ["an address that is none", { kind: "ReverseDnsLookup", value: { ipAddress: "1.2.3.256" } }],
    ["a status of 99", answer(99, [])],
    ["a header name with a colon", answer(200, [["a:b", ["c"]]])],
    ["a header value with a line break", answer(200, [["a", ["b\r\nc: d"]]])],
    ["a header value beyond bytes", answer(200, [["a", ["日本"]]])],
    ["a variant that does not exist", { kind: "Nonsense" } as never],
    ["a version that is none", { kind: "SwitchProtocolVersion", value: "1.2" }],
    ["a version with a part above 64 bits", { kind: "SwitchProtocolVersion", value: `1.2.${1n << 64n}` }],
    ["a pre-release with a leading zero", { kind: "SwitchProtocolVersion", value: "1.2.3-a.01" }],
    ["a number above 32 bits", lookup(2 ** 31)],
  ])("%s", (_name, message) => {
    expect(() => clientMessage.encode(message)).toThrow(code("protocol-bad-value"))
  })

  test("are told from those that just can", () => {
    for (const message of [
      { kind: "SwitchProtocolVersion", value: `1.2.${(1n << 64n) - 1n}` },
      { kind: "SwitchProtocolVersion", value: "1.2.3-a.0.x01+01" },
      lookup(2 ** 31 - 1),
      lookup(-(2 ** 31)),
    ] as ClientMessage[])
      expect(clientMessage.decode(clientMessage.encode(message))).toEqual(message)
  })

  test.each([2, 5_000])(
    "leave nothing behind in a stream that goes on, when %d bytes of them were written",
    (length) => {
      const writer = new Writer()
      clientMessage.encodeInto(writer, { kind: "Ping" })
      expect(() =>
        clientMessage.encodeInto(
          writer,
          answer(200, [
            ["a", ["o".repeat(length)]],
            ["b", ["\n"]],
          ]),
        ),
      ).toThrow()
      clientMessage.encodeInto(writer, answer(200, [["a", ["\xe9"]]]))
      expect(writer.pendingBytes).toBe(1 + clientMessage.encode(answer(200, [["a", ["\xe9"]]])).length)
      const chunks = Buffer.concat(writer.take())
      expect(chunks[0]).toBe(7)
      expect(clientMessage.decode(chunks.subarray(1))).toEqual(answer(200, [["a", ["\xe9"]]]))
    },
  )
})

describe("whole messages", () => {
  test("a cut one is an error, one with more behind it is not", () => {
    expect(() => daemonMessage.decode(fromHex("00 03 62"))).toThrow(code("protocol-incomplete"))
    expect(daemonMessage.decode(fromHex("07 ff ff"))).toEqual({ kind: "Pong" })
  })

  test("one beyond the limit is refused, one below it is not", () => {
    const bytes = daemonMessage.encode({ kind: "Close", value: "x".repeat(2000) })
    const withLimit = (maxMessageBytes: number) => () =>
      daemonMessage.decode(bytes, { ...defaultLimits, maxMessageBytes })
    expect(withLimit(bytes.length - 1)).toThrow(code("protocol-too-large"))
    expect(withLimit(bytes.length)).not.toThrow()
  })
})

describe("versions", () => {
  test.each([
    ["1.29.0", "1.29.0"],
    ["1.22.0", "1.22.0"],
    ["1.30.0", protocolVersion],
    ["2.0.0", protocolVersion],
  ])("a client of %s is answered %s", (theirs, agreed) => {
    expect(negotiate(theirs)).toBe(agreed)
  })

  test("pre-releases come before what they lead to, in the order of semver.org", () => {
    const order = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"].map((name) => `1.0.0-${name}`)
    for (const [at, version] of [...order, "1.0.0", "1.0.1-a", "1.0.1", "1.1.0", "2.0.0"].entries()) {
      for (const [other, against] of [...order, "1.0.0", "1.0.1-a", "1.0.1", "1.1.0", "2.0.0"].entries())
        expect([version, against, Math.sign(compareVersions(version, against))]).toEqual([
          version,
          against,
          Math.sign(at - other),
        ])
    }
    expect(compareVersions("1.0.0+a", "1.0.0+b")).toBe(0)
  })

  test("every feature begins at its version and not before", () => {
    expect(supports("1.22.0", "connectV2")).toBe(true)
    expect(supports("1.21.9", "connectV2")).toBe(false)
    expect(supports("1.100.0", "connectV2")).toBe(true)
    expect(supports("1.22.0-beta.1", "connectV2")).toBe(false)
    for (const feature of Object.keys(since) as (keyof typeof since)[]) {
      expect([feature, supports(protocolVersion, feature)]).toEqual([feature, true])
      expect([feature, supports(unnegotiatedVersion, feature)]).toEqual([feature, false])
    }
    expect(featuresOf("1.22.0").has("connectV2")).toBe(true)
    expect(featuresOf("1.21.9").has("connectV2")).toBe(false)
    expect(featuresOf(protocolVersion).size).toBe(Object.keys(since).length)
  })
})
