import type { Incoming, InternalProxy } from "./internal-proxy.ts"

const text = "from the client"

const served = new WeakSet<InternalProxy>()

/**
 * A local application behind the proxy, from the first call until the proxy ends: it answers every stolen request and every
 * connection that has asked something, whoever made it; a kubelet's probes are among them.
 */
export function answerAll(proxy: InternalProxy): void {
  if (served.has(proxy)) return
  served.add(proxy)
  void (async () => {
    for (;;) {
      const message = await proxy.nextIncoming().catch(() => undefined)
      if (!message) return
      answer(proxy, message)
    }
  })()
}

function answer(proxy: InternalProxy, message: Incoming): void {
  if (message.kind === "HttpRequestChunked" && message.value.kind === "StartV2") {
    const { connectionId, requestId } = message.value.value
    const internalResponse = {
      status: 200,
      version: "HTTP/1.1" as const,
      headers: new Map<string, string[]>(),
      body: [{ kind: "Data" as const, value: new TextEncoder().encode(text) }],
    }
    const port = message.value.value.metadata.value.destination.port
    proxy.sendSteal({ kind: "HttpResponseFramed", value: { connectionId, requestId, port, internalResponse } })
  } else if (message.kind === "Data" && message.value.bytes.length > 0) {
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n`
    const bytes = new TextEncoder().encode(head + text)
    proxy.sendSteal({ kind: "Data", value: { connectionId: message.value.connectionId, bytes } })
  }
}
