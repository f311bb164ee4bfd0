import { startMeasuredAgent } from "./agent-process.ts"

/*
 * One outgoing connection on loopback, both ways, in MB/s and as a share of the same transfer without an agent; then
 * what the agent's memory does when its client stops reading while much is waiting.
 */

const bytes = 1_500_000_000
const chunk = Buffer.alloc(256 * 1024, 1)
const pauseSeconds = Number(process.env["PAUSE_SECONDS"] ?? 5)
const waitingBytes = 1_000_000_000
const wantedMegabytes = 600
const wantedGrowth = 64

/** In a process of its own, as it would be: sends or swallows, as the first byte asks. */
const server = Bun.spawn(
  [
    process.execPath,
    "-e",
    `
  const chunk = Buffer.alloc(256 * 1024, 1)
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, allowHalfOpen: true, socket: {
    open(s) { s.data = { mode: 0, left: 0, got: 0 } },
    data(s, d) {
      const at = s.data
      if (at.mode === 0) { at.mode = d[0]; at.want = Number(d.readBigUInt64LE(1)); d = d.subarray(9); if (at.mode === 1) { at.left = at.want; return pour(s) } }
      at.got += d.length
      if (at.got >= at.want) s.write("!")
    },
    drain: (s) => pour(s), end() {},
  } })
  function pour(s) { const at = s.data; while (at.mode === 1 && at.left > 0) { const n = s.write(at.left < chunk.length ? chunk.subarray(0, at.left) : chunk); if (n <= 0) return; at.left -= n } }
  console.log(listener.port)
`,
  ],
  { stdout: "pipe" },
)
const port = Number(new TextDecoder().decode((await server.stdout.getReader().read()).value))
const order = (mode: 1 | 2, length: number) => {
  const message = Buffer.alloc(9)
  message[0] = mode
  message.writeBigUInt64LE(BigInt(length), 1)
  return message
}

async function direct(mode: 1 | 2): Promise<number> {
  const done = Promise.withResolvers<void>()
  let left = mode === 1 ? bytes : 0
  let toSend = mode === 2 ? bytes : 0
  const pour = (socket: { write(data: Uint8Array): number }) => {
    while (toSend > 0) {
      const taken = socket.write(toSend < chunk.length ? chunk.subarray(0, toSend) : chunk)
      if (taken <= 0) return
      toSend -= taken
    }
  }
  const start = performance.now()
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      open(socket) {
        socket.write(order(mode, bytes))
        pour(socket)
      },
      drain: pour,
      data: (_, data) => void ((left -= data.length) <= 0 && done.resolve()),
    },
  })
  await done.promise
  return bytes / 1000 / (performance.now() - start)
}

async function throughAgent(mode: 1 | 2): Promise<number> {
  const client = await agent.connect()
  const connectionId = await client.connectTo(port)
  const done = Promise.withResolvers<void>()
  let left = mode === 1 ? bytes : 1
  client.onMessage = (message) => {
    if (message.kind !== "TcpOutgoing" || message.value.kind !== "Read" || message.value.value.kind !== "Ok") return
    left -= message.value.value.value.bytes.length
    if (left <= 0) done.resolve()
  }
  const write = (data: Uint8Array) =>
    client.link.send({ kind: "TcpOutgoing", value: { kind: "Write", value: { connectionId, bytes: data } } })
  const start = performance.now()
  write(order(mode, bytes))
  for (let sent = 0; mode === 2 && sent < bytes; sent += chunk.length) {
    if (!write(sent + chunk.length > bytes ? chunk.subarray(0, bytes - sent) : chunk)) await client.link.whenWritable()
  }
  await done.promise
  const rate = bytes / 1000 / (performance.now() - start)
  client.link.close()
  return rate
}

const agent = await startMeasuredAgent()
const results = { down: [await direct(1), await throughAgent(1)], up: [await direct(2), await throughAgent(2)] }
for (const [way, [plain, agents]] of Object.entries(results)) {
  console.log(
    `${way}: ${agents!.toFixed(0)} MB/s (wanted ${wantedMegabytes}), ${((100 * agents!) / plain!).toFixed(0)} % of ${plain!.toFixed(0)} MB/s direct`,
  )
}

// Measured beside a fresh agent, so that no memory of the transfers before is left to be reused.
const fresh = await startMeasuredAgent()
const client = await fresh.connect()
const connectionId = await client.connectTo(port)
let received = 0
const done = Promise.withResolvers<void>()
client.onMessage = (message) => {
  if (message.kind !== "TcpOutgoing" || message.value.kind !== "Read" || message.value.value.kind !== "Ok") return
  received += message.value.value.value.bytes.length
  if (received >= waitingBytes) done.resolve()
}
const before = fresh.memory()
client.link.pause()
client.link.send({
  kind: "TcpOutgoing",
  value: { kind: "Write", value: { connectionId, bytes: order(1, waitingBytes) } },
})
let peak = before
for (let second = 0; second < pauseSeconds; second++) {
  await Bun.sleep(1000)
  peak = Math.max(peak, fresh.memory())
}
client.link.resume()
const sampling = setInterval(() => (peak = Math.max(peak, fresh.memory())), 20)
await done.promise
clearInterval(sampling)
const growth = peak - before
console.log(
  `client paused for ${pauseSeconds} s: memory grew by ${growth.toFixed(0)} MiB from ${before.toFixed(0)} (wanted at most ${wantedGrowth}), ${received} of ${waitingBytes} bytes arrived`,
)
await Promise.all([agent.stop(), fresh.stop()])
server.kill()
const isFast = results.down[1]! >= wantedMegabytes && results.up[1]! >= wantedMegabytes
process.exit(isFast && growth <= wantedGrowth && received === waitingBytes ? 0 : 1)
