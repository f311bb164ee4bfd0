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
    for (;;) answer(proxy, await proxy.nextIncoming())
  })().catch(() => {})
}

function answer(proxy: InternalProxy, message: Incoming): void {
  if (message.kind === "HttpRequestChunked" && message.value.kind === "StartV2") {
    const { connectionId, requestId } = message.value.value
    const internalResponse = {
      status: 200,
      version: { kind: "Http11" },
      headers: [],
      body: [{ kind: "Data", value: new TextEncoder().encode(text) }],
    }
    proxy.sendSteal({
      kind: "HttpResponseFramed",
      value: { connectionId, requestId, port: 8080, internalResponse },
    } as never)
  } else if (message.kind === "Data" && message.value.bytes.length > 0) {
    const head = `HTTP/1.1 200 OK\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n`
    const bytes = new TextEncoder().encode(head + text)
    proxy.sendSteal({ kind: "Data", value: { connectionId: message.value.connectionId, bytes } })
  }
}
