import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import http2 from "node:http2"
import type { Duplex } from "node:stream"
import { type TLSSocket, connect as tlsConnect } from "node:tls"
import { Hono } from "hono"
import { until } from "../../../test/until.ts"
import { silentLogger } from "../../log.ts"
import {
  basicConstraints,
  dnsNames,
  extendedKeyUsage,
  issueAuthority,
  issueCertificate,
} from "../credentials/certificate.ts"
import { newPrivateKey, privateKeyToPem, spkiOf } from "../credentials/keys.ts"
import { toPem } from "../credentials/pem.ts"
import { jsonDocument } from "./documents.ts"
import { type FrontDoor, type FrontDoorEnv, openFrontDoor } from "./front-door.ts"
import { type FrontProxy, readFrontProxy, refusedPeer } from "./front-proxy.ts"
import { failure, forbidden, toStatusError } from "./status.ts"

interface Authority {
  pem: string
  issue(commonName: string, use?: "client" | "server" | "any", notAfter?: Date): { cert: string; key: string }
  /** Another authority, whose certificate is from this one; its clients send that along. */
  below(commonName: string, options?: { ca?: boolean; notAfter?: Date }): Authority
  /** The same, whose clients send its own certificate along. */
  shown(): Authority
}

const anHour = () => new Date(Date.now() + 3_600_000)

function authority(
  commonName: string,
  key = newPrivateKey("ecdsa"),
  pem = toPem(issueAuthority(key, commonName, new Date("2049-01-01")), "CERTIFICATE"),
  sentAlong = "",
): Authority {
  const certificate = (subject: string, own: typeof key, notAfter: Date, extensions: Uint8Array[]) =>
    issueCertificate({
      issuer: { commonName, organization: "podside" },
      subject: { commonName: subject, organization: "podside" },
      spki: spkiOf(own),
      notBefore: new Date(Date.now() - 7_200_000),
      notAfter,
      extensions,
      signer: key,
    })
  return {
    pem,
    issue(name, use = "client", notAfter = anHour()) {
      const own = newPrivateKey("ecdsa")
      const uses = use === "any" ? [] : [extendedKeyUsage(use)]
      const extensions = [basicConstraints(false), ...uses, dnsNames(["localhost"])]
      const cert = toPem(certificate(name, own, notAfter, extensions), "CERTIFICATE")
      return { cert: cert + sentAlong, key: privateKeyToPem(own) }
    },
    below(name, { ca = true, notAfter = anHour() } = {}) {
      const own = newPrivateKey("ecdsa")
      const cert = toPem(certificate(name, own, notAfter, [basicConstraints(ca)]), "CERTIFICATE")
      return authority(name, own, cert, cert + sentAlong)
    },
    shown: () => authority(commonName, key, pem, pem),
  }
}

const serving = authority("serving")
const trusted = authority("front proxy")
const other = authority("front proxy")
const apiServer = trusted.issue("front-proxy-client")

const settings = (ca: string, more: Record<string, string> = {}): FrontProxy =>
  readFrontProxy({
    "requestheader-client-ca-file": ca,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    ...more,
  })

let proxy: FrontProxy | undefined = settings(trusted.pem)
let door: FrontDoor
/** What an upgrade waits for. */
let waiting: Promise<unknown> = Promise.resolve()
/** Sockets of upgrades that were let in, until they close. */
const upgraded = new Set<Duplex>()

const loopback = { host: "127.0.0.1", port: 0 }

const openDoor = (listen = [loopback]) => {
  const app = new Hono<FrontDoorEnv>()
  app.get("/whoami", (c) => c.json(c.env.identity))
  app.notFound((c) => c.json(failure(toStatusError(forbidden("routed"))), 403))
  return openFrontDoor({
    listen,
    certificate: serving.issue("one", "server"),
    frontProxy: () => proxy,
    documents: new Map([["/fixed", (accept: string) => jsonDocument({ accept })]]),
    app,
    upgrade: async (request, socket, early, identity) => {
      if (request.url !== "/echo") throw forbidden("not here")
      upgraded.add(socket)
      socket.once("close", () => upgraded.delete(socket))
      await waiting
      if (socket.destroyed) return
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n\r\n${identity.user}:`)
      socket.write(early())
      socket.pipe(socket)
    },
    notReady: () => undefined,
    log: silentLogger,
  })
}
beforeAll(async () => {
  door = await openDoor()
})
afterAll(() => door.close())

type Certificate = { cert: string; key: string } | undefined

/** Sends one HTTP/1.1 request byte by byte as given, so that nothing tidies its headers, and reads to the end. */
function raw(
  lines: string[],
  certificate: Certificate = apiServer,
): Promise<{ status: number; body: string; ended: boolean }> {
  return new Promise((resolve, reject) => {
    let text = ""
    const socket = tlsConnect(
      {
        host: "127.0.0.1",
        port: door.port,
        servername: "localhost",
        ca: serving.pem,
        ALPNProtocols: ["http/1.1"],
        ...certificate,
      },
      () => socket.write(`${[...lines, "Host: x"].join("\r\n")}\r\n\r\n`, "latin1"),
    )
    socket.on("data", (chunk) => (text += chunk.toString("latin1")))
    socket.on("error", reject)
    socket.on("close", () => {
      const [head = "", body = ""] = text.split("\r\n\r\n")
      resolve({ status: Number(head.split(" ")[1]), body, ended: true })
    })
  })
}

const get = (headers: string[], certificate?: Certificate, path = "/whoami") =>
  raw(
    [
      `GET ${path} HTTP/1.1`,
      ...headers,
      ...(headers.some((h) => /^connection:/i.test(h)) ? [] : ["Connection: close"]),
    ],
    certificate,
  )

function overHttp2(certificate: Certificate, headers: Record<string, string | string[]>) {
  return new Promise<{ status: number; body: string }>((resolve, reject) => {
    const session = http2.connect(`https://localhost:${door.port}`, { ca: serving.pem, ...certificate })
    session.on("error", reject)
    const stream = session.request({ ":path": "/whoami", ...headers })
    let status = 0
    let body = ""
    stream.on("error", reject)
    stream.on("response", (answer) => {
      status = Number(answer[":status"])
    })
    stream.on("data", (chunk) => {
      body += chunk
    })
    stream.on("end", () => {
      session.close()
      resolve({ status, body })
    })
    stream.end()
  })
}

const parsed = (body: string) => JSON.parse(body.slice(body.indexOf("{"), body.lastIndexOf("}") + 1))

describe("who may state an identity", () => {
  test("the API server may: user, groups, uid and extra arrive as stated", async () => {
    const { status, body } = await get([
      "X-Remote-User: ann",
      "X-Remote-Uid: u-7",
      "X-Remote-Group: team a",
      "X-Remote-Group: system:authenticated",
      "X-Remote-Extra-Scopes: one",
      "X-Remote-Extra-Scopes: two, three",
      "X-Remote-Extra-Authentication.kubernetes.io%2Fcredential-Id: X509",
    ])
    expect(status).toBe(200)
    expect(parsed(body)).toEqual({
      user: "ann",
      uid: "u-7",
      groups: ["team a", "system:authenticated"],
      extra: { scopes: ["one", "two, three"], "authentication.kubernetes.io/credential-id": ["X509"] },
    })
  })

  test.each([
    ["one intermediate CA", trusted.below("between").issue("front-proxy-client")],
    ["two of them", trusted.below("between").below("further").issue("front-proxy-client")],
  ])("the chain to the CA may have %s", async (_what, certificate) => {
    expect((await get(["X-Remote-User: ann"], certificate)).status).toBe(200)
    expect((await overHttp2(certificate, { "x-remote-user": "ann" })).status).toBe(200)
  })

  test("its certificate need not say what it is for, and its CA may be sent along", async () => {
    expect((await get(["X-Remote-User: ann"], trusted.issue("front-proxy-client", "any"))).status).toBe(200)
    expect((await get(["X-Remote-User: ann"], trusted.shown().issue("front-proxy-client"))).status).toBe(200)
  })

  test("where no name is asked for, any client of the CA may, and nobody else", async () => {
    proxy = settings(trusted.pem, { "requestheader-allowed-names": "[]" })
    try {
      expect((await get(["X-Remote-User: ann"], trusted.issue("somebody"))).status).toBe(200)
      expect((await get(["X-Remote-User: ann"], other.issue("somebody"))).status).toBe(401)
    } finally {
      proxy = settings(trusted.pem)
    }
  })

  test("settings without a CA are none", () => {
    expect(() => settings("")).toThrow("request-header settings cannot be read")
    expect(() => settings("no certificate")).toThrow("request-header settings cannot be read")
    expect(settings(trusted.pem).authorities).toHaveLength(1)
  })

  test("somebody who is in many groups is let in, over HTTP/1.1 and HTTP/2", async () => {
    const groups = Array.from({ length: 500 }, (_, i) => `organisation:a-team-with-a-long-name-${i}`)
    const lines = groups.map((group) => `X-Remote-Group: ${group}`)
    expect((await get(["X-Remote-User: ann", ...lines])).status).toBe(200)
    const h2 = await overHttp2(apiServer, { "x-remote-user": "ann", "x-remote-group": groups })
    expect(h2.status).toBe(200)
    expect(JSON.parse(h2.body).groups).toEqual(groups)
  })

  test("names beyond ASCII are UTF-8", async () => {
    const { body } = await get([`X-Remote-User: ${Buffer.from("änn").toString("latin1")}`])
    expect(parsed(Buffer.from(body, "latin1").toString("utf8")).user).toBe("änn")
  })

  test.each([
    ["no certificate", undefined],
    ["a certificate of another CA with the same name", other.issue("front-proxy-client")],
    ["a certificate of the right CA with a name that is not allowed", trusted.issue("somebody")],
    ["a certificate that has expired", trusted.issue("front-proxy-client", "client", new Date(Date.now() - 3_600_000))],
    ["a server's certificate", trusted.issue("front-proxy-client", "server")],
    ["one that a client of the right CA signed", trusted.below("somebody", { ca: false }).issue("front-proxy-client")],
    [
      "one of an intermediate CA that has expired",
      trusted.below("between", { notAfter: new Date(Date.now() - 3_600_000) }).issue("front-proxy-client"),
    ],
    ["one of another CA that is sent along", other.shown().issue("front-proxy-client")],
    ["one of an intermediate CA of another", other.below("between").issue("front-proxy-client")],
    ["a certificate of an intermediate CA with a name that is not allowed", trusted.below("between").issue("somebody")],
  ])("with %s the answer is 401 before any routing", async (_what, certificate) => {
    for (const path of ["/whoami", "/nowhere"]) {
      const { status, body } = await raw(
        [`GET ${path} HTTP/1.1`, "X-Remote-User: ann", "X-Remote-Group: system:masters", "Connection: close"],
        certificate ?? ({} as Certificate),
      )
      expect(status).toBe(401)
      expect(parsed(body)).toMatchObject({ kind: "Status", status: "Failure", code: 401, reason: "Unauthorized" })
    }
    expect((await get(["X-Remote-User: ann"])).status).toBe(200)
  })

  test.each([
    ["no user", ["X-Remote-Group: system:masters"]],
    ["an empty user", ["X-Remote-User: "]],
    ["two users", ["X-Remote-User: ann", "X-Remote-User: root"]],
    ["two users in odd case", ["X-Remote-User: ann", "x-REMOTE-user: root"]],
    ["two uids", ["X-Remote-User: ann", "X-Remote-Uid: 1", "X-Remote-Uid: 2"]],
    [
      "a group named in Connection",
      ["X-Remote-User: ann", "X-Remote-Group: restricted", "Connection: close, X-Remote-Group"],
    ],
    [
      "an extra key named in Connection in odd case",
      ["X-Remote-User: ann", "Connection: close, x-remote-EXTRA-scopes"],
    ],
  ])("%s is no identity", async (_what, headers) => {
    expect((await get(headers)).status).toBe(401)
  })

  test("look-alikes of identity headers are not identity", async () => {
    const { body } = await get([
      "X-Remote-User: ann",
      "X_Remote_Group: system:masters",
      "X-Remote-Groups: system:masters",
    ])
    expect(parsed(body).groups).toEqual([])
  })

  test("header names are the API server's choice", async () => {
    proxy = settings(trusted.pem, { "requestheader-username-headers": '["X-Who"]' })
    try {
      expect((await get(["X-Remote-User: ann"])).status).toBe(401)
      expect(parsed((await get(["X-Who: ben"])).body).user).toBe("ben")
    } finally {
      proxy = settings(trusted.pem)
    }
  })

  test("a rotated CA counts at once, and both count while both are there", async () => {
    const renewed = other.issue("front-proxy-client")
    try {
      proxy = settings(trusted.pem + other.pem)
      expect((await get(["X-Remote-User: ann"], renewed)).status).toBe(200)
      expect((await get(["X-Remote-User: ann"])).status).toBe(200)
      proxy = settings(other.pem)
      expect((await get(["X-Remote-User: ann"], renewed)).status).toBe(200)
      expect((await get(["X-Remote-User: ann"])).status).toBe(401)
    } finally {
      proxy = settings(trusted.pem)
    }
  })

  test("a certificate that was accepted is not for longer than it is valid", () => {
    const now = Date.now()
    const { cert } = trusted.issue("front-proxy-client", "client", new Date(now + 3_600_000))
    const socket = { getPeerCertificate: () => ({ raw: new X509Certificate(cert).raw }) } as unknown as TLSSocket
    const own = settings(trusted.pem)
    expect(refusedPeer(socket, own, now)).toBeUndefined()
    expect(refusedPeer(socket, own, now + 3_500_000)).toBeUndefined()
    expect(refusedPeer(socket, own, now + 3_700_000)).toContain("not valid")
  })

  test("before the settings were read nobody is anybody", async () => {
    proxy = undefined
    try {
      expect((await get(["X-Remote-User: ann"])).status).toBe(503)
    } finally {
      proxy = settings(trusted.pem)
    }
    expect((await get(["X-Remote-User: ann"])).status).toBe(200)
  })

  test("HTTP/2 is held to the same", async () => {
    const ann = { "x-remote-user": "ann", "x-remote-group": ["a", "b"] }
    expect((await overHttp2(apiServer, ann)).status).toBe(200)
    expect((await overHttp2({} as Certificate, ann)).status).toBe(401)
  })
})

describe("upgrades", () => {
  const upgrade = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  ]

  test("one that is refused gets its whole answer and then the end of the connection", async () => {
    const { status, body, ended } = await raw(["GET /x HTTP/1.1", "X-Remote-User: ann", ...upgrade])
    expect(status).toBe(403)
    expect(parsed(body)).toMatchObject({ kind: "Status", code: 403, message: "not here" })
    expect(ended).toBe(true)
  })

  test("without the certificate it is 401 too", async () => {
    expect((await raw(["GET /x HTTP/1.1", "X-Remote-User: ann", ...upgrade], {} as Certificate)).status).toBe(401)
  })
})

describe("an upgrade that is let in", () => {
  const ask = [
    "GET /echo HTTP/1.1",
    "Host: x",
    "X-Remote-User: ann",
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
  ]
  const plain = ["GET /whoami HTTP/1.1", "Host: x", "X-Remote-User: ann"]
  const head = (...lines: string[]) => `${lines.join("\r\n")}\r\n\r\n`
  const connected = (on: { data?(chunk: Buffer): void } = {}) =>
    new Promise<ReturnType<typeof tlsConnect>>((resolve, reject) => {
      const where = { host: "127.0.0.1", port: door.port, servername: "localhost", ca: serving.pem, ...apiServer }
      const socket = tlsConnect(where, () => resolve(socket))
      socket.on("error", reject)
      if (on.data) socket.on("data", on.data)
    })

  /** Sends the pieces one by one and reads until `enough` has come. */
  async function talk(pieces: string[], enough: string): Promise<string> {
    let text = ""
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const socket = await connected({
      data: (chunk) => {
        text += chunk.toString("latin1")
        if (text.includes(enough)) resolve(text)
      },
    })
    socket.once("close", () => reject(new Error(`closed after: ${text}`)))
    socket.setNoDelay(true)
    // What is written to a socket that was closed is never said to be sent.
    for (const piece of pieces) await Promise.race([promise, new Promise((sent) => socket.write(piece, sent))])
    return promise.finally(() => socket.destroy())
  }
  const cut = (text: string, size: number) => text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? []

  test.each([1, 7, 60, 1_000])("may send its request in pieces of %d bytes", async (size) => {
    expect(await talk([...cut(head(...ask), size), "hello"], "hello")).toContain("101 Switching")
  })

  test("what comes right behind the request is not lost", async () => {
    expect(await talk([`${head(...ask)}early`, "late"], "ann:earlylate")).toContain("101 Switching")
  })

  test.each<[string, string[]]>([
    ["one that comes in pieces", cut(head(...plain), 5)],
    ["one in one piece", [head(...plain)]],
  ])("other requests are answered: %s", async (_what, pieces) => {
    expect(await talk(pieces, '"user":"ann"')).toContain("200 OK")
  })

  test("may be of somebody in thousands of groups", async () => {
    const groups = Array.from({ length: 5_000 }, (_, i) => `X-Remote-Group: a-team-with-a-long-name-${i}`)
    expect(await talk([head(...ask, ...groups), "hello"], "hello")).toContain("101 Switching")
  })

  test("may not state more of somebody than could be kept", async () => {
    const group = (length: number) => `X-Remote-Group: ${"g".repeat(length)}`
    const stating = (length: number) => [...ask, ...Array.from({ length: 20 }, () => group(length / 20))]
    expect(await talk([head(...stating(250 << 10)), "hello"], "hello")).toContain("101 Switching")
    expect(await talk([head(...stating(260 << 10))], "\r\n")).toContain("401")
  })

  test("may be the second request of its connection", async () => {
    expect(await talk([head(...plain), head(...ask)], "101 Switching")).toContain('"user":"ann"')
  })

  test.each<[string, string[], RegExp]>([
    ["an identity header named in Connection", [...ask, "Connection: X-Remote-User"], /401/],
    ["a second user", [...ask, "X-Remote-User: root"], /401/],
    ["no user", ask.filter((line) => !line.includes("ann")), /401/],
  ])("with %s is refused", async (_what, lines, status) => {
    expect(await talk([head(...lines)], "\r\n")).toMatch(status)
  })

  test("may be followed at once by a little, not by much: the client is to wait", async () => {
    const answer = Promise.withResolvers<void>()
    const early = (kib: number) => Array.from({ length: kib }, () => "e".repeat(1 << 10))
    waiting = answer.promise
    try {
      const patient = talk([head(...ask), ...early(60), "end"], "eend")
      for (const pieces of [[head(...ask), ...early(80)], [head(...ask) + early(80).join("")]]) {
        await expect(talk(pieces, "101")).rejects.toThrow("closed after: ")
      }
      answer.resolve()
      expect(await patient).toContain("101 Switching")
    } finally {
      answer.resolve()
      waiting = Promise.resolve()
    }
  })

  test("who ends in the middle of a request is gone at once", async () => {
    const socket = await connected()
    const closed = new Promise((resolve) => socket.once("close", resolve))
    await new Promise((sent) => socket.write("GET /echo HTTP/1.1\r\nHost: x\r\n", sent))
    socket.end()
    await closed
  }, 10_000)

  test("who goes without a word while it is served harms nobody", async () => {
    const socket = await connected()
    const answered = new Promise((resolve) => socket.once("data", resolve))
    await new Promise((sent) => socket.write(head(...ask), sent))
    await answered
    socket.resetAndDestroy()
    await until(() => upgraded.size === 0)
    expect(await talk([head(...ask), "hello"], "hello")).toContain("101 Switching")
  })

  test("a client that leaves while it waits is noticed", async () => {
    const answer = Promise.withResolvers<void>()
    waiting = answer.promise
    try {
      const socket = await connected()
      await new Promise((sent) => socket.write(head(...ask), sent))
      await until(() => upgraded.size === 1)
      socket.end()
      await until(() => upgraded.size === 0)
    } finally {
      answer.resolve()
      waiting = Promise.resolve()
    }
  })
})

test("a fixed document is for the API server only, in the form that is accepted", async () => {
  const ask = ["X-Remote-User: ann", "Accept: text/much"]
  const { status, body } = await get(ask, apiServer, "/fixed?timeout=32s")
  expect([status, parsed(body)]).toEqual([200, { accept: "text/much" }])
  expect((await get(ask, {} as Certificate, "/fixed")).status).toBe(401)
  expect((await get(["Accept: text/much"], apiServer, "/fixed")).status).toBe(401)
})

test("probes need no certificate, and tell nothing else", async () => {
  for (const path of ["/health", "/readyz"]) expect((await get([], {} as Certificate, path)).status).toBe(200)
  expect((await get([], {} as Certificate, "/healthy")).status).toBe(401)
})

test("the first address is taken that the machine has; one that is in use is none to pass over", async () => {
  const probe = async (host: string, { port }: FrontDoor) => {
    const url = `https://${host}:${port}/health`
    return (await fetch(url, { tls: { rejectUnauthorized: false } })).status
  }
  // Of the addresses kept for documentation, RFC 3849.
  const elsewhere = { host: "2001:db8::1", port: 0 }
  const fallback = await openDoor([elsewhere, loopback])
  expect([fallback.host, await probe("127.0.0.1", fallback)]).toEqual(["127.0.0.1", 200])
  await fallback.close()
  const both = await openDoor([{ host: "::", port: 0 }, elsewhere])
  expect([await probe("127.0.0.1", both), await probe("[::1]", both)]).toEqual([200, 200])
  await expect(openDoor([{ host: "::", port: both.port }, loopback])).rejects.toMatchObject({ code: "EADDRINUSE" })
  await both.close()
  await expect(openDoor([elsewhere])).rejects.toMatchObject({ code: "EADDRNOTAVAIL" })
})

test("closing ends what is open: upgraded, over HTTP/2, and silent", async () => {
  const closing = await openDoor()
  const where = { host: "127.0.0.1", port: closing.port, servername: "localhost", ca: serving.pem, ...apiServer }
  const ends: Promise<unknown>[] = []
  for (const lines of [
    undefined,
    ["GET /echo HTTP/1.1", "X-Remote-User: ann", "Upgrade: websocket", "Connection: upgrade"],
  ]) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const socket = tlsConnect(where, () => {
      if (lines) socket.write(`${lines.join("\r\n")}\r\n\r\n`)
      else resolve()
    })
    socket.once("data", () => resolve())
    socket.on("error", () => {})
    ends.push(new Promise((closed) => socket.once("close", closed)))
    await promise
  }
  const session = http2.connect(`https://localhost:${closing.port}`, { ca: serving.pem, ...apiServer })
  session.on("error", () => {})
  ends.push(new Promise((closed) => session.once("close", closed)))
  await new Promise((connected) => session.once("connect", connected))
  await closing.close()
  await Promise.all(ends)
})

test("a new serving certificate is shown to new connections", async () => {
  const shown = () =>
    new Promise<string>((resolve) => {
      const socket = tlsConnect(
        { host: "127.0.0.1", port: door.port, servername: "localhost", ca: serving.pem },
        () => {
          resolve(String(socket.getPeerCertificate().subject.CN))
          socket.destroy()
        },
      )
    })
  expect(await shown()).toBe("one")
  door.replaceCertificate(serving.issue("two", "server"))
  expect(await shown()).toBe("two")
  expect((await get(["X-Remote-User: ann"])).status).toBe(200)
})
