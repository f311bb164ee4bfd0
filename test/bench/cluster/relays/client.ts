import type { RequestOptions } from "node:https"
import { KubeConfig } from "@kubernetes/client-node"

/*
 * client.ts KUBECONFIG PATH: each connection to the loopback port it prints goes on as a WebSocket to PATH of the API server.
 */

interface State {
  webSocket: WebSocket
}

const [file, path] = process.argv.slice(2)
const config = new KubeConfig()
config.loadFromFile(file!)
const tls: RequestOptions = {}
await config.applyToHTTPSOptions(tls)
const url = `${config.getCurrentCluster()!.server.replace("https", "wss")}${path}`

const listener = Bun.listen<State>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket) {
      socket.setNoDelay(true)
      socket.pause()
      const webSocket = new WebSocket(url, {
        headers: tls.headers as Record<string, string>,
        tls: tls as Bun.TLSOptions,
        perMessageDeflate: false,
      })
      webSocket.binaryType = "nodebuffer"
      webSocket.onopen = () => socket.resume()
      webSocket.onmessage = ({ data }) => void socket.write(data)
      webSocket.onclose = () => socket.end()
      socket.data = { webSocket }
    },
    data: ({ data }, bytes) => data.webSocket.send(bytes),
    close: ({ data }) => data.webSocket.close(),
  },
})
console.log(listener.port)
