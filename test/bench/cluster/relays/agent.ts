/* Each TLS connection goes on as a plain one to RELAY_TO. Key and certificate are in the folder of this file. */

interface State {
  onward: Bun.Socket | undefined
  early: Uint8Array[]
}

const [hostname, port] = process.env["RELAY_TO"]!.split(":")
const read = (name: string) => Bun.file(`${import.meta.dir}/${name}`).text()

Bun.listen<State>({
  hostname: "0.0.0.0",
  port: 7444,
  tls: { key: await read("key.pem"), cert: await read("cert.pem") },
  socket: {
    async open(socket) {
      socket.setNoDelay(true)
      socket.data = { onward: undefined, early: [] }
      const onward = await Bun.connect({
        hostname: hostname!,
        port: Number(port),
        socket: { data: (_, bytes) => void socket.write(bytes), close: () => void socket.end() },
      })
      onward.setNoDelay(true)
      socket.data.onward = onward
      for (const bytes of socket.data.early.splice(0)) onward.write(bytes)
    },
    data({ data }, bytes) {
      if (data.onward) data.onward.write(bytes)
      else data.early.push(new Uint8Array(bytes))
    },
    close: ({ data }) => void data.onward?.end(),
  },
})
