import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { MemoryNetwork, type MemoryNetworkOptions } from "../../../test/fakes/memory-network.ts"
import { installed, keepingLogger, runIn } from "../../../test/fakes/run-in-world.ts"

setDefaultTimeout(120_000)

/** A pod that takes what it is sent and answers nothing, unless with `end`. */
function listeningPod(options: MemoryNetworkOptions = {}) {
  const heard = { bytes: 0, messages: 0 }
  const outgoing = new MemoryNetwork({
    answer(data) {
      heard.bytes += data.length
      heard.messages++
      return undefined
    },
    ...options,
  })
  return { world: { outgoing }, outgoing, heard }
}

const bash = (script: string) => ["/bin/bash", "-c", script]
const python = (script: string) => ["/usr/bin/python3", "-c", `import socket\n${script}`]

describe("what a program says last", () => {
  test("arrives whole, though it ends at once", async () => {
    for (let run = 0; run < 5; run++) {
      const { world, heard } = listeningPod()
      await runIn(world, bash("head -c 3000000 /dev/zero >/dev/tcp/10.99.1.1/7"))
      expect(heard.bytes).toBe(3_000_000)
    }
  })

  test("is waited for while somebody takes it, however slowly", async () => {
    const { world, heard } = listeningPod({ slowness: () => 100 })
    await runIn(world, bash("head -c 3000000 /dev/zero >/dev/tcp/10.99.1.1/7"))
    expect(heard.bytes).toBe(3_000_000)
  })

  test("is given up, and told, when nobody takes it", async () => {
    const { world, heard } = listeningPod({ slowness: () => 600_000 })
    const { log, lines } = keepingLogger()
    await runIn(world, bash("head -c 1000000 /dev/zero >/dev/tcp/10.99.1.1/7"), { log })
    expect(heard.messages).toBe(1)
    expect(lines.filter((line) => line.includes("last data of the program may be lost"))).toHaveLength(1)
  })

  test.if(installed("python3"))("arrives by a non-blocking connection that was made a moment before", async () => {
    const { world, heard } = listeningPod({ connecting: () => Bun.sleep(50) })
    const script = `
import select
s = socket.socket(); s.setblocking(False); s.connect_ex(("10.99.1.1", 7)); select.select([], [s], []); s.send(b"last")
`
    await runIn(world, python(script))
    expect(heard.bytes).toBe(4)
  })

  test.if(installed("python3"))("arrives by unix sockets, of streams and of packets", async () => {
    for (const type of ["SOCK_STREAM", "SOCK_SEQPACKET"]) {
      const { world, heard } = listeningPod()
      const script = `
s = socket.socket(socket.AF_UNIX, socket.${type}); s.connect("/remote/log")
for _ in range(10): s.send(bytes(10_000))
`
      await runIn(world, python(script))
      expect(heard.bytes).toBe(100_000)
    }
  })

  test("arrives by UDP, also while the connection is being made", async () => {
    for (const connecting of [() => {}, () => Bun.sleep(200)]) {
      const { world, heard } = listeningPod({ connecting })
      await runIn(world, bash("for n in 1 2 3 4 5 6 7 8 9; do echo $n; done >/dev/udp/10.99.1.1/514"))
      expect(heard.messages).toBe(9)
    }
  })

  test("a connection that was answered keeps nobody waiting", async () => {
    const outgoing = new MemoryNetwork()
    const { log, lines } = keepingLogger()
    const script = "exec 3<>/dev/tcp/10.99.1.1/7; head -c 100000 /dev/zero >&3; head -c 100000 <&3 >/dev/null"
    await runIn({ outgoing }, bash(script), { log })
    // Said whenever a peer was waited for in vain.
    expect(lines).toEqual([])
    expect(outgoing.open).toBe(0)
  })
})
