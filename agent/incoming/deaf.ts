import type { TcpEvents } from "../../core/interceptor.ts"

/** For a socket whose events concern nobody any more. */
export const deaf: TcpEvents = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }
