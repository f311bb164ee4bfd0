import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect as connectPlain } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, createServer, type TLSSocket } from "node:tls"
import { type FakeKube, kubeconfigFor } from "./kube-server.ts"

const pem = (name: string) => readFileSync(new URL(`../cases/tls/${name}`, import.meta.url))
const own = { cert: pem("server.crt"), key: pem("server.key"), ca: pem("ca.crt"), requestCert: true }
const asClient = { cert: pem("client.crt"), key: pem("client.key"), ca: pem("ca.crt") }

export interface FakeTunnels {
  kubeconfig: string
  /** Request heads of all tunnels that were asked for. */
  heads: string[]
  /** Upgraded connections that stand, tunnels and port-forwards. */
  connections(): number
  stop(): void
}

/** @param head the whole request */
export type OnTunnel = (socket: TLSSocket, head: Buffer) => void

/** Answers as kube-apiserver does for a pod whose port is this unix socket. */
export const tunnelTo =
  (path: string): OnTunnel =>
  (socket, head) => {
    const port = connectPlain(path)
    let answered = false
    const fail = () => socket.end("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    port.write(head)
    socket.on("data", (bytes) => port.write(bytes))
    socket.on("close", () => port.destroy())
    port.on("error", () => {})
    port.on("data", (bytes: Buffer) => {
      if (!answered && !bytes.toString("latin1").startsWith("HTTP/1.1 101 ")) return void fail()
      answered = true
      socket.write(bytes)
    })
    port.on("close", () => (answered ? socket.destroy() : fail()))
  }

/** Stands before a fake API server: requests for `pods/proxy` are `onTunnel`'s to answer, byte by byte, all others go through. */
export function startFakeTunnels(kube: FakeKube, onTunnel: OnTunnel): Promise<FakeTunnels> {
  const heads: string[] = []
  const open = new Set<TLSSocket>()
  const upgraded = new Set<TLSSocket>()
  const server = createServer(own, (socket) => {
    open.add(socket)
    socket.on("close", () => {
      open.delete(socket)
      upgraded.delete(socket)
    })
    socket.on("error", () => {})
    let head = Buffer.alloc(0)
    const read = (chunk: Buffer) => {
      head = Buffer.concat([head, chunk])
      if (!head.includes("\r\n\r\n")) return
      socket.off("data", read)
      if (/^upgrade:/im.test(head.toString("latin1"))) upgraded.add(socket)
      if (/^GET \S+\/proxy\/ /.test(head.toString("latin1"))) {
        heads.push(head.toString("latin1"))
        onTunnel(socket, head)
        return
      }
      const { hostname, port } = new URL(kube.url)
      const onward = connect({ ...asClient, host: hostname, port: Number(port) })
      onward.on("error", () => socket.destroy())
      onward.write(head)
      socket.on("data", (bytes) => onward.write(bytes))
      onward.on("data", (bytes) => socket.write(bytes))
      socket.on("close", () => onward.destroy())
      onward.on("close", () => socket.destroy())
    }
    socket.on("data", read)
  })
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number }
      const kubeconfig = join(tmpdir(), `podside-fake-tunnels-${port}-${process.pid}.json`)
      writeFileSync(kubeconfig, JSON.stringify(kubeconfigFor(`https://127.0.0.1:${port}`)))
      resolve({
        kubeconfig,
        heads,
        connections: () => upgraded.size,
        stop() {
          for (const socket of open) socket.destroy()
          server.close()
          rmSync(kubeconfig, { force: true })
        },
      })
    })
  })
}
