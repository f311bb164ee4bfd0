import { expect, test } from "bun:test"
import type { DaemonTcp } from "../protocol/index.ts"
import { trafficText } from "./traffic-text.ts"

const connection = {
  connectionId: 7n,
  remoteAddress: "10.0.0.9",
  destinationPort: 80,
  sourcePort: 4242,
  localAddress: "10.0.0.1",
}
const tls = { kind: "Tls", value: { alpnProtocol: Buffer.from("h2"), serverName: "shop" } } as const
const data = (bytes: Uint8Array): DaemonTcp => ({ kind: "Data", value: { connectionId: 7n, bytes } })
const ids = { connectionId: 7n, requestId: 1 }
const whole = {
  method: "GET",
  uri: "/a",
  headers: new Map([["host", ["shop"]]]),
  version: "HTTP/1.1" as const,
}
const metadata = {
  kind: "V1",
  value: { source: { ip: "10.0.0.9", port: 4242 }, destination: { ip: "10.0.0.1", port: 80 } },
} as const

test.each<[sentence: string, message: DaemonTcp, text: string]>([
  [
    "a connection",
    { kind: "NewConnectionV1", value: connection },
    "## New TCP connection established: Connection ID 7 from 10.0.0.9:4242 to 10.0.0.1:80\n",
  ],
  [
    "one that was TLS",
    { kind: "NewConnectionV2", value: { connection, transport: tls } },
    "## New TLS (ALPN=h2, SNI=shop) connection established: Connection ID 7 from 10.0.0.9:4242 to 10.0.0.1:80\n",
  ],
  ["text", data(Buffer.from("GET / HTTP/1.1\r\n")), "## Connection ID 7: 16 bytes\nData: GET / HTTP/1.1\r\n\n"],
  ["bytes", data(Uint8Array.of(0, 255)), "## Connection ID 7: 2 bytes\nData (hex): 00ff\n"],
  ["what would steer a terminal", data(Buffer.from("\x1b[2J")), "## Connection ID 7: 4 bytes\nData (hex): 1b5b324a\n"],
  ["the end of a connection", { kind: "Close", value: { connectionId: 7n } }, "## Connection ID 7 closed\n"],
  [
    "a request",
    {
      kind: "HttpRequestChunked",
      value: {
        kind: "StartV2",
        value: {
          ...ids,
          request: { ...whole, body: { frames: [], isLast: true } },
          metadata,
          transport: { kind: "Tcp" },
        },
      },
    },
    "## New HTTP request received: Request ID [7:1] from 10.0.0.9:4242 to 10.0.0.1:80\nGET /a HTTP/1.1\nhost: shop\n\n## Request ID [7:1] finished\n",
  ],
  [
    "an old form of a request",
    {
      kind: "HttpRequest",
      value: { internalRequest: { ...whole, body: Buffer.from("hi") }, ...ids, port: 80 },
    },
    "## New HTTP request received: Request ID [7:1] to port 80\nGET /a HTTP/1.1\nhost: shop\n\n## Request ID [7:1] frame: data (2 bytes)\nhi\n## Request ID [7:1] finished\n",
  ],
  [
    "a part of a body, and its end",
    {
      kind: "HttpRequestChunked",
      value: {
        kind: "Body",
        value: {
          ...ids,
          frames: [
            { kind: "Data", value: Uint8Array.of(1) },
            { kind: "Trailers", value: new Map([["x", ["y"]]]) },
          ],
          isLast: true,
        },
      },
    },
    "## Request ID [7:1] frame: data (1 bytes)\n01 (hex)\n## Request ID [7:1] frame: trailers\nx: y\n## Request ID [7:1] finished\n",
  ],
  [
    "a request that broke off",
    { kind: "HttpRequestChunked", value: { kind: "ErrorV2", value: { ...ids, errorMessage: "gone" } } },
    "## Request ID [7:1] failed: gone\n",
  ],
  ["nothing of what is no traffic", { kind: "SubscribeResult", value: { kind: "Ok", value: 80 } }, ""],
])("prints %s", (_, message, text) => {
  expect(trafficText(message)).toBe(text)
})
