import { beforeAll, describe, expect, test } from "bun:test"
import { connect } from "node:tls"
import { readClientHello } from "./client-hello.ts"

/** What a real client sends first. */
async function helloOf(options: { servername?: string; ALPNProtocols?: string[] }): Promise<Buffer> {
  const first = Promise.withResolvers<Buffer>()
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { binaryType: "buffer", data: (_, bytes) => first.resolve(bytes) },
  })
  const socket = connect({ host: "127.0.0.1", port: listener.port, ...options }).on("error", () => {})
  try {
    return await first.promise
  } finally {
    socket.destroy()
    listener.stop(true)
  }
}

describe("what a caller says first", () => {
  let hello: Buffer

  beforeAll(async () => {
    hello = await helloOf({ servername: "app.test", ALPNProtocols: ["h2", "http/1.1"] })
  })

  test("names the server and the protocols", () => {
    expect(readClientHello(hello)).toEqual({ serverName: "app.test", alpnProtocols: ["h2", "http/1.1"] })
  })

  test("may name neither", async () => {
    expect(readClientHello(await helloOf({}))).toEqual({ serverName: undefined, alpnProtocols: [] })
  })

  test("is incomplete until its last byte, however it is cut", () => {
    for (let end = 0; end < hello.length; end++) expect(readClientHello(hello.subarray(0, end))).toBe("incomplete")
  })

  test("may come in several records", () => {
    const message = hello.subarray(5)
    const record = (piece: Buffer) => Buffer.concat([Buffer.of(22, 3, 1, piece.length >> 8, piece.length & 255), piece])
    const pieces = [message.subarray(0, 2), message.subarray(2, 100), message.subarray(100)].map(record)
    expect(readClientHello(Buffer.concat(pieces))).toEqual(readClientHello(hello))
    expect(readClientHello(Buffer.concat(pieces.slice(0, 2)))).toBe("incomplete")
  })

  test("is not TLS when it is HTTP, or another kind of record", () => {
    expect(readClientHello(Buffer.from("GET / HTTP/1.1\r\n"))).toBe("other")
    expect(readClientHello(Buffer.of(21, 3, 3, 0, 2, 2, 40))).toBe("other")
    expect(readClientHello(Buffer.of(22, 3, 1, 0, 0))).toBe("other")
  })

  test("never makes the reader throw or wait for more than a bound", () => {
    for (let round = 0; round < 20_000; round++) {
      const broken = Buffer.from(hello)
      for (let change = 0; change <= round % 4; change++) {
        broken[Math.floor(Math.random() * broken.length)] = Math.floor(Math.random() * 256)
      }
      readClientHello(broken)
    }
    const endless = Buffer.concat(
      Array.from({ length: 8 }, () => Buffer.concat([Buffer.of(22, 3, 1, 0xff, 0xff), Buffer.alloc(0xffff, 1)])),
    )
    expect(readClientHello(endless)).toBe("other")
  })
})
