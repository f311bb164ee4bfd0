/* Each WebSocket goes on as a TLS connection to RELAY_TO. Key and certificate are in the folder of this file. */

interface State {
  onward: Bun.Socket | undefined
  early: Uint8Array[]
}

const [hostname, port] = process.env["RELAY_TO"]!.split(":")
const read = (name: string) => Bun.file(`${import.meta.dir}/${name}`).text()

Bun.serve<State>({
  port: 7443,
  tls: { key: await read("key.pem"), cert: await read("cert.pem") },
  fetch(request, server) {
    if (server.upgrade(request, { data: { onward: undefined, early: [] } })) return undefined
    return new Response("a WebSocket is wanted", { status: 426 })
  },
  websocket: {
    perMessageDeflate: false,
    async open(webSocket) {
      // What is written before the handshake is over may be lost.
      const secured = Promise.withResolvers<void>()
      const onward = await Bun.connect({
        hostname: hostname!,
        port: Number(port),
        tls: { rejectUnauthorized: false },
        socket: {
          handshake: () => secured.resolve(),
          data: (_, bytes) => void webSocket.send(bytes),
          close: () => webSocket.close(),
        },
      })
      onward.setNoDelay(true)
      await secured.promise
      webSocket.data.onward = onward
      for (const bytes of webSocket.data.early.splice(0)) onward.write(bytes)
    },
    message({ data }, message) {
      const bytes = Buffer.from(message as Uint8Array)
      if (data.onward) data.onward.write(bytes)
      else data.early.push(new Uint8Array(bytes))
    },
    close: ({ data }) => void data.onward?.end(),
  },
})
