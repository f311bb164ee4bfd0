import { sockaddr } from "../addresses.ts"
import type { Codec, Infer } from "../codec.ts"
import { list, option, struct, variants } from "../composites.ts"
import { headers, httpVersion, method, status, uri } from "../http-parts.ts"
import { bool, bytes, none, str, u16, u64 } from "../primitives.ts"

const httpBodyFrame = variants("InternalHttpBodyFrame", { Data: bytes, Trailers: headers })
export type HttpBodyFrame = Infer<typeof httpBodyFrame>

export const frames = list(httpBodyFrame)

const internalRequest = <B>(body: Codec<B>) => struct({ method, uri, headers, version: httpVersion, body })

/** Version before headers, unlike requests. */
const internalResponse = <B>(body: Codec<B>) => struct({ status, version: httpVersion, headers, body })

/** The HTTP part before the ids, the port last. */
export const httpRequest = <B>(body: Codec<B>) =>
  struct({ internalRequest: internalRequest(body), connectionId: u64, requestId: u16, port: u16 })

/** Port and ids before the HTTP part. */
export const httpResponse = <B>(body: Codec<B>) =>
  struct({ port: u16, connectionId: u64, requestId: u16, internalResponse: internalResponse(body) })

export const trafficTransport = variants("IncomingTrafficTransportType", {
  Tcp: none,
  /** The agent ended TLS; what the caller agreed on and asked for. */
  Tls: struct({ alpnProtocol: option(bytes), serverName: option(str) }),
})
export type TrafficTransport = Infer<typeof trafficTransport>

const httpRequestMetadata = variants("HttpRequestMetadata", {
  V1: struct({ source: sockaddr, destination: sockaddr }),
})
export type HttpRequestMetadata = Infer<typeof httpRequestMetadata>

const ids = { connectionId: u64, requestId: u16 }

const chunkedStartV2 = struct({
  ...ids,
  request: internalRequest(struct({ frames, isLast: bool })),
  metadata: httpRequestMetadata,
  transport: trafficTransport,
})
export type ChunkedRequestStartV2 = Infer<typeof chunkedStartV2>

const chunkedBody = struct({ frames, isLast: bool, ...ids })
export type ChunkedBody = Infer<typeof chunkedBody>

const chunkedErrorV1 = struct(ids)

export const chunkedRequest = variants("ChunkedRequest", {
  StartV1: httpRequest(frames),
  Body: chunkedBody,
  ErrorV1: chunkedErrorV1,
  StartV2: chunkedStartV2,
  ErrorV2: struct({ ...ids, errorMessage: str }),
})
export type ChunkedRequest = Infer<typeof chunkedRequest>

export const chunkedResponse = variants("ChunkedResponse", {
  Start: httpResponse(frames),
  Body: chunkedBody,
  Error: chunkedErrorV1,
})
export type ChunkedResponse = Infer<typeof chunkedResponse>

export const wholeRequest = httpRequest(bytes)
/** A request with its whole body in one piece. */
export type HttpRequest = Infer<typeof wholeRequest>
export const framedRequest = httpRequest(frames)
/** A request with its whole body as frames. */
export type HttpRequestFramed = Infer<typeof framedRequest>
export const wholeResponse = httpResponse(bytes)
export type HttpResponse = Infer<typeof wholeResponse>
export const framedResponse = httpResponse(frames)
export type HttpResponseFramed = Infer<typeof framedResponse>
