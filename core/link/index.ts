/* Carriers of the protocol: implementations of `core/link.ts` over byte streams, WebSockets and memory. */
export { bunSocketHandlers, listenLinks, type StreamAddress } from "./bun-socket.ts"
export { type ConnectOptions, type ConnectTls, connectLink } from "./connect.ts"
export { duplexLink } from "./duplex.ts"
export { linkPair } from "./memory.ts"
export { servedWebSocketLink, switchingProtocols } from "./served-web-socket.ts"
export { askingSide, defaultLinkLimits, type LinkLimits, type Side, servingSide } from "./side.ts"
export { type Carrier, StreamLink } from "./stream-link.ts"
export { type WebSocketLike, webSocketLink } from "./web-socket-link.ts"
