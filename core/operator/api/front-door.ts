import type { IncomingMessage, ServerResponse } from "node:http"
import http2 from "node:http2"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import type { TLSSocket } from "node:tls"
import { getRequestListener } from "@hono/node-server"
import type { Hono } from "hono"
import type { ListenAddress } from "../../../config/operator.ts"
import type { Logger } from "../../log.ts"
import type { Identity } from "../../session.ts"
import { endsWithin } from "../../time-limit.ts"
import { onFirst } from "../first-address.ts"
import type { FixedDocuments } from "./documents.ts"
import { readFirstRequest } from "./first-request.ts"
import { type FrontProxy, refusedPeer } from "./front-proxy.ts"
import { readIdentity } from "./identity.ts"
import { failure, failureHeaders, StatusError, toStatusError, unauthorized, unavailable } from "./status.ts"
import type { UpgradeRequest } from "./upgrade-request.ts"

/** What routes find in their context: the caller, settled before any routing. */
export interface FrontDoorEnv {
  Bindings: { incoming: IncomingMessage; identity: Identity }
  Variables: { identity: Identity }
}

/** `early` gives, once, what the client has sent after its request. */
export type Upgrade = (
  request: UpgradeRequest,
  socket: Duplex,
  early: () => Buffer,
  identity: Identity,
) => Promise<void>

export interface FrontDoorOptions {
  /** Listens on the first of these that the machine has; port 0 takes a free one. */
  listen: readonly ListenAddress[]
  /** PEM of the serving certificate and its key. */
  certificate: { cert: string; key: string }
  /** Undefined until the API server's settings were read. */
  frontProxy(): FrontProxy | undefined
  /** Answered without the routes. */
  documents: FixedDocuments
  app: Hono<FrontDoorEnv>
  /** Takes an upgrade over, or throws before anything was written to the socket. */
  upgrade: Upgrade
  /** Why the operator is not ready; undefined when it is. */
  notReady(): string | undefined
  log: Logger
}

export interface FrontDoor {
  port: number
  /** The address it listens on. */
  host: string
  /** From its return on, new connections see the new certificate. */
  replaceCertificate(certificate: { cert: string; key: string }): void
  /** Takes no new connections; those that are open stay. */
  stopAccepting(): void
  /** Ends every connection. Resolves when they are gone; what lingers is not waited for long. */
  close(): Promise<void>
}

/**
 * One header line stands for each group and each extra value; the usual limits (128 lines, 16 KiB) refuse people who are in
 * many groups. Bun stops at about a thousand lines under HTTP/1.1, which API servers use for upgrades only; those are read here.
 */
const headerLimits = {
  maxHeaderListPairs: 8_192,
  settings: { maxHeaderListSize: 1 << 20 },
  /** Of HTTP/1.1, in bytes. */
  maxHeaderSize: 1 << 20,
}

/** How long connections that were ended may take to be gone, in milliseconds. */
const closeMs = 2_000

/**
 * The TLS server the API server talks to: HTTP/2 for requests, HTTP/1.1 for upgrades. Everything but the probes needs the
 * front-proxy certificate; without it the answer is 401 whatever was asked.
 */
export async function openFrontDoor(options: FrontDoorOptions): Promise<FrontDoor> {
  const identities = new WeakMap<IncomingMessage, Identity>()
  const listener = getRequestListener(
    (request, env) => {
      const incoming = env.incoming as unknown as IncomingMessage
      return options.app.fetch(request, { incoming, identity: identities.get(incoming)! })
    },
    { overrideGlobalObjects: false },
  )
  const sockets = new Set<Duplex>()
  /** One for all: what each has of its own stays in memory as long as the socket. */
  const gone = function (this: Duplex) {
    sockets.delete(this)
  }

  const server = http2.createSecureServer(
    {
      allowHTTP1: true,
      ...options.certificate,
      requestCert: true,
      // Judged in `admit`, with the CA of this moment; refusing the handshake would leave clients without a reason.
      rejectUnauthorized: false,
      minVersion: "TLSv1.2",
      ...headerLimits,
    },
    (request, response) => {
      const incoming = request as unknown as IncomingMessage
      const outgoing = response as unknown as ServerResponse
      const probe = probeAnswer(pathOf(incoming), options.notReady)
      if (probe) return void outgoing.writeHead(probe.code, { "content-type": "text/plain" }).end(probe.text)
      const admitted = admit(tlsSocketOf(incoming), incoming, options.frontProxy())
      if (admitted instanceof StatusError) {
        outgoing.writeHead(admitted.code, failureHeaders(admitted))
        return void outgoing.end(JSON.stringify(failure(admitted)))
      }
      const document = incoming.method === "GET" && options.documents.get(pathOf(incoming))
      if (document) {
        const { contentType, body } = document(incoming.headers.accept ?? "")
        outgoing.writeHead(200, { "content-type": contentType, "content-length": body.length })
        return void outgoing.end(body)
      }
      identities.set(incoming, admitted)
      void listener(incoming, outgoing)
    },
  )
  const upgrade = (request: UpgradeRequest, socket: Duplex, early: () => Buffer, peer: TLSSocket) => {
    socket.on("error", destroyed)
    const admitted = admit(peer, request, options.frontProxy())
    if (admitted instanceof StatusError) return refuseUpgrade(socket, admitted)
    options.upgrade(request, socket, early, admitted).catch((thrown) => {
      const refusal = toStatusError(thrown)
      if (refusal.code >= 500) options.log.error("upgrade failed", { error: thrown, path: pathOf(request) })
      refuseUpgrade(socket, refusal)
    })
  }
  // Upgrades that are not the plain first request of their connection.
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) =>
    upgrade(request, socket, () => head, tlsSocketOf(request)),
  )
  // From before its handshake on: one that only begins when the server closes must not stay.
  server.on("connection", (socket: Duplex) => {
    sockets.add(socket)
    socket.on("close", gone)
  })
  const servers = server.listeners("secureConnection")
  server.removeAllListeners("secureConnection")
  server.on("secureConnection", (socket: TLSSocket) => {
    const serve = () => {
      for (const listener of servers) listener.call(server, socket)
    }
    if (socket.alpnProtocol === "h2") return serve()
    readFirstRequest(socket, {
      upgrade: (request, early) => upgrade(request, socket, early, socket),
      other: (received) => {
        serve()
        socket.emit("data", received)
      },
    })
  })
  for (const event of ["clientError", "sessionError", "tlsClientError"]) {
    server.on(event, (error: Error, socket?: Duplex) => {
      options.log.debug("connection failed", { error })
      socket?.destroy()
    })
  }
  const { host } = await onFirst(options.listen, (address) => {
    const { promise, resolve, reject } = Promise.withResolvers<ListenAddress>()
    server.once("error", reject)
    server.listen(address.port, address.host, () => resolve(address))
    return promise.finally(() => server.off("error", reject))
  })

  const { port } = server.address() as AddressInfo
  const closed = Promise.withResolvers<void>()
  const stopAccepting = () => {
    if (server.listening) server.close(() => closed.resolve())
  }

  return {
    port,
    host,
    replaceCertificate: (certificate) => server.setSecureContext({ ...certificate, minVersion: "TLSv1.2" }),
    stopAccepting,
    close: async () => {
      stopAccepting()
      for (const socket of sockets) socket.destroy()
      await endsWithin(closed.promise, closeMs)
    },
  }
}

/** Stands outside, for a closure would keep the request for as long as its socket lives. */
function destroyed(this: Duplex): void {
  this.destroy()
}

/** The caller, or the refusal. Knows nothing of routes. */
function admit(
  peer: TLSSocket,
  request: { rawHeaders: string[] },
  proxy: FrontProxy | undefined,
): Identity | StatusError {
  if (!proxy) return unavailable("The operator has not read the API server's settings yet")
  const refused = refusedPeer(peer, proxy)
  if (refused) return unauthorized(`Only the Kubernetes API server may ask: ${refused}`)
  const identity = readIdentity(request.rawHeaders, proxy)
  return typeof identity === "string"
    ? unauthorized(`The API server's request states no identity: ${identity}`)
    : identity
}

/** Under HTTP/2 the socket stands behind the stream's session. */
function tlsSocketOf(request: IncomingMessage): TLSSocket {
  const { stream } = request as unknown as { stream?: { session?: { socket?: TLSSocket } } }
  return (stream?.session?.socket ?? request.socket) as TLSSocket
}

const pathOf = ({ url = "" }: { url?: string }): string => url.split("?", 1)[0]!

/** Probes come from the kubelet, which has no certificate; they tell nothing but ready or not. */
function probeAnswer(path: string, notReady: () => string | undefined): { code: number; text: string } | undefined {
  if (path === "/health") return { code: 200, text: "ok\n" }
  if (path !== "/readyz") return undefined
  const reason = notReady()
  return reason === undefined ? { code: 200, text: "ok\n" } : { code: 503, text: `${reason}\n` }
}

/** A whole answer and then the end: a socket is never left half open. */
function refuseUpgrade(socket: Duplex, refusal: StatusError): void {
  if (socket.destroyed) return
  const body = JSON.stringify(failure(refusal))
  const headers = { ...failureHeaders(refusal), "content-length": String(Buffer.byteLength(body)), connection: "close" }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${refusal.code} ${refusal.reason}\r\n${lines.join("")}\r\n${body}`, () => socket.destroy())
}
