import { expect, test } from "bun:test"
import { NetlinkSocket } from "../../netlink.ts"
import { ListeningPorts } from "./listening-ports.ts"

/** Of a protocol the kernel does not have. */
const noSuch = () => new NetlinkSocket(31)

test.each([
  ["asked of the kernel", new ListeningPorts()],
  ["read in its tables, where it cannot be asked", new ListeningPorts(noSuch)],
])("listeners and nothing else are seen, %s", async (_, listening) => {
  const open = ["127.0.0.1", "::1", "::"].map((hostname) => Bun.listen({ hostname, port: 0, socket: { data() {} } }))
  const ports = open.map(({ port }) => port)
  const connection = await Bun.connect({ hostname: "127.0.0.1", port: ports[0]!, socket: { data() {} } })
  const seen = listening.read()
  expect(ports.map((port) => seen.has(port))).toEqual([true, true, true])
  expect(seen.has(connection.localPort)).toBe(false)
  open[0]!.stop()
  open[1]!.stop()
  const after = listening.read()
  expect(ports.map((port) => after.has(port))).toEqual([false, false, true])
  open[2]!.stop()
  connection.end()
  listening.close()
})
