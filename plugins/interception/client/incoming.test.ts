import { describe, expect, setDefaultTimeout, test } from "bun:test"
import type { Socket } from "bun"
import { ErrnoError } from "../../../core/client/engine.ts"
import type { Endpoint } from "../../../core/interceptor.ts"
import { MemoryIncoming, MemoryNetwork } from "../../../test/fakes/memory-network.ts"
import { installed, runIn } from "../../../test/fakes/run-in-world.ts"

/** Programs of every kind are started, on machines that may be busy. */
setDefaultTimeout(120_000)

const caller = { source: { ip: "10.99.8.8", port: 5555 }, destination: { ip: "10.99.0.7", port: 80 } }

/** A port that is taken as long as the result is not stopped. */
function takenPort() {
  return Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } })
}

/** Calls a listener of the program; with `as` the program is to believe that caller. Resolves with everything it says. */
async function call(incoming: MemoryIncoming, local: Endpoint, as?: typeof caller): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let text = ""
  const known = Promise.withResolvers<void>()
  if (as) incoming.expected = known.promise
  const socket: Socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: local.port,
    socket: {
      data: (_, bytes) => {
        text += bytes.toString()
      },
      close: () => resolve(text),
      connectError: (_, error) => reject(error),
    },
  })
  if (as) incoming.callers.set(socket.localPort, as)
  known.resolve()
  socket.write("hello\n")
  return promise
}

const python = (script: string) => ["/usr/bin/python3", "-c", `import socket, sys, os, time\n${script}`]

/** Serves one caller and prints what it sees. */
const server = (port: number, more = "") => `
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("0.0.0.0", ${port})); s.listen(5)
print(s.getsockname()[1]); ${more}
c, a = s.accept(); print(a, c.getpeername(), c.getsockname()); print(c.recv(100)); c.sendall(b"served"); c.close()
`

describe.if(installed("python3"))("a listener of the program", () => {
  test("that gets its port is announced as it is, its callers keep their names", async () => {
    const free = takenPort()
    const port = free.port
    free.stop(true)
    const incoming = new MemoryIncoming()
    const running = runIn({ incoming }, python(server(port)))
    const { requested, local } = await incoming.until(() => incoming.listeners[0])
    expect([requested.port, local.port]).toEqual([port, port])
    expect(await call(incoming, local)).toBe("served")
    const { output } = await running
    expect(output).toContain(`${port}\n('127.0.0.1', `)
    expect(output).toContain(`('127.0.0.1', ${port})\nb'hello\\n'`)
  })

  test("whose port is taken listens elsewhere and does not know it; a caller from the pod has its true name", async () => {
    const other = takenPort()
    const incoming = new MemoryIncoming()
    const running = runIn({ incoming }, python(server(other.port)))
    const { requested, local } = await incoming.until(() => incoming.listeners[0])
    expect(requested.port).toBe(other.port)
    expect(local.port).not.toBe(other.port)
    const said = { ...caller, destination: { ip: "10.99.0.7", port: other.port } }
    expect(await call(incoming, local, said)).toBe("served")
    expect((await running).output).toBe(
      `${other.port}\n('10.99.8.8', 5555) ('10.99.8.8', 5555) ('10.99.0.7', ${other.port})\nb'hello\\n'\n`,
    )
    other.stop(true)
  })

  test("for which a port of this machine is chosen gets that one, and believes to have its own", async () => {
    const free = takenPort()
    free.stop(true)
    const incoming = new MemoryIncoming()
    incoming.listenPorts.set(80, free.port)
    const running = runIn({ incoming }, python(server(80)))
    const { requested, local } = await incoming.until(() => incoming.listeners[0])
    expect([requested.port, local.port]).toEqual([80, free.port])
    expect(await call(incoming, local, caller)).toBe("served")
    expect((await running).output).toStartWith("80\n('10.99.8.8', 5555)")
  })

  test("gets no other port when the chosen one is taken", async () => {
    const other = takenPort()
    const incoming = new MemoryIncoming()
    incoming.listenPorts.set(80, other.port)
    const script = `s = socket.socket()\ntry: s.bind(("", 80))\nexcept OSError as e: print(e)`
    expect((await runIn({ incoming }, python(script))).output).toBe("[Errno 98] Address already in use\n")
    expect(incoming.listeners).toEqual([])
    other.stop(true)
  })

  test.each([
    ["may not listen in the pod", true, "[Errno 98] Address already in use\nFalse\n"],
    ["may", false, "listens\nTrue\n"],
  ])("that %s does so on this machine neither more nor less", async (_what, isRefused, output) => {
    const free = takenPort()
    free.stop(true)
    const incoming = new MemoryIncoming()
    if (isRefused) incoming.listening = () => Promise.reject(new ErrnoError(98, "taken"))
    const script = `
s = socket.socket(); s.bind(("127.0.0.1", ${free.port}))
try: s.listen(); print("listens")
except OSError as e: print(e)
states = [(line.split()[1], line.split()[3]) for line in open("/proc/net/tcp").readlines()[1:]]
print(("0100007F:%04X" % ${free.port}, "0A") in states)`
    expect((await runIn({ incoming }, python(script))).output).toBe(output)
  })

  test("whose pod's port is another sees the pod's address with the port it asked for", async () => {
    const other = takenPort()
    const incoming = new MemoryIncoming()
    const running = runIn({ incoming }, python(server(other.port)))
    const { local } = await incoming.until(() => incoming.listeners[0])
    expect(await call(incoming, local, caller)).toBe("served")
    expect((await running).output).toContain(`('10.99.0.7', ${other.port})`)
    other.stop(true)
  })

  test("is found by the program itself under the port it asked for", async () => {
    const other = takenPort()
    const incoming = new MemoryIncoming()
    const script = `
s = socket.socket(); s.bind(("127.0.0.1", ${other.port})); s.listen(5)
c = socket.create_connection(("127.0.0.1", ${other.port})); d, a = s.accept(); c.sendall(b"me"); print(d.recv(10))
`
    const world = {
      incoming,
      outgoing: { place: () => "local" as const, connect: () => Promise.reject(new Error("no")) },
    }
    expect((await runIn(world, python(script))).output).toBe("b'me'\n")
    other.stop(true)
  })

  test("is noticed when it is closed, while the program goes on", async () => {
    const incoming = new MemoryIncoming()
    const free = takenPort()
    free.stop(true)
    const script = `s = socket.socket(); s.bind(("", ${free.port})); s.listen(); s.close(); sys.stdin = os.popen("sleep 30"); sys.stdin.read()`
    let stop = () => {}
    const running = runIn({ incoming }, python(script), {
      running: (program) => {
        stop = () => program.kill("SIGKILL")
      },
    })
    expect(await incoming.until(() => incoming.closedPorts[0])).toBe(free.port)
    stop()
    expect((await running).code).toBe(137)
  })

  test("is refused when the pod's port is", async () => {
    const free = takenPort()
    free.stop(true)
    const incoming = new MemoryIncoming([free.port])
    const script = `s = socket.socket(); s.bind(("", ${free.port}))\ntry: s.listen()\nexcept OSError as e: print(e)`
    expect((await runIn({ incoming }, python(script))).output).toBe("[Errno 98] Address already in use\n")
  })

  test("of port 0 is none of the pod's, but its own connections lead there as long as it is open", async () => {
    const incoming = new MemoryIncoming()
    const outgoing = new MemoryNetwork({
      isRemote: (peer) => peer.kind === "tcp" && !incoming.chosenPorts.has(peer.endpoint.port),
    })
    const script = `
l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen(); print(l.getsockname()[1] > 0)
if os.fork() == 0:
    s = socket.socket(); s.connect(l.getsockname()); s.sendall(b"hello"); os._exit(0)
print(l.accept()[0].recv(5)); sys.stdout.flush(); l.close(); time.sleep(1)
`
    let opened = 0
    const gone = incoming
      .until(() => (opened = Math.max(opened, incoming.chosenPorts.size)) || undefined)
      .then(() => incoming.until(() => incoming.chosenPorts.size === 0 || undefined))
    expect((await runIn({ incoming, outgoing }, python(script))).output).toBe("True\nb'hello'\n")
    await gone
    expect([opened, outgoing.connected, incoming.listeners]).toEqual([1, [], []])
  })

  test("where nothing comes in, any port is the program's own, and gets no other place", async () => {
    const [free, other] = [takenPort(), takenPort()]
    free.stop(true)
    const incoming = Object.assign(new MemoryIncoming(), { isOff: true, wants: () => false })
    const outgoing = new MemoryNetwork({
      isRemote: (peer) => peer.kind === "tcp" && !incoming.chosenPorts.has(peer.endpoint.port),
    })
    const script = `
l = socket.socket(); l.bind(("", ${free.port})); l.listen()
s = socket.create_connection(("127.0.0.1", ${free.port})); c, a = l.accept(); print(a == s.getsockname())
try: socket.socket().bind(("", ${other.port}))
except OSError as e: print(e)
`
    const { output } = await runIn({ incoming, outgoing }, python(script))
    expect(output).toBe("True\n[Errno 98] Address already in use\n")
    expect([outgoing.connected, incoming.listeners]).toEqual([[], []])
    other.stop(true)
  })

  test("a second bind to the same taken port fails as ever", async () => {
    const other = takenPort()
    const script = `
s = socket.socket(); s.bind(("", ${other.port})); s.listen()
try: socket.socket().bind(("", ${other.port}))
except OSError as e: print(e)
`
    const { output } = await runIn({ incoming: new MemoryIncoming() }, python(script))
    expect(output).toBe("[Errno 98] Address already in use\n")
    other.stop(true)
  })

  /** Binds and listens one after the other, and prints how each went. */
  const binds = (...calls: string[]) =>
    runIn(
      { incoming: new MemoryIncoming() },
      python(`
import errno
kept = []
def bind(ip, port, share=False):
    s = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET); kept.append(s)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(share))
    if ":" in ip: s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try: s.bind((ip, port)); s.listen(); print("ok", end=" ")
    except OSError as e: print(errno.errorcode[e.errno], end=" ")
${calls.join("\n")}`),
    )

  test.each([
    ["twice on one address", ["0.0.0.0", "0.0.0.0"], "ok EADDRINUSE "],
    ["on one address after all of them", ["0.0.0.0", "127.0.0.1"], "ok EADDRINUSE "],
    ["on all addresses after one of the pod's", ["10.99.0.7", "0.0.0.0"], "ok EADDRINUSE "],
    ["twice on one of the pod's", ["10.99.0.7", "10.99.0.7"], "ok EADDRINUSE "],
    ["on different addresses", ["127.0.0.1", "10.99.0.7"], "ok ok "],
    ["on both families", ["0.0.0.0", "::"], "ok ok "],
  ])(
    "a program that listens %s has what it would have in the pod, also where the port is taken here",
    async (_, ips, expected) => {
      const free = takenPort()
      free.stop(true)
      const calls = (port: number) => ips.map((ip) => `bind("${ip}", ${port})`)
      expect((await binds(...calls(free.port))).output).toBe(expected)
      const other = Bun.listen({ hostname: "::", port: 0, socket: { data() {} } })
      expect((await binds(...calls(other.port))).output).toBe(expected)
      other.stop(true)
    },
  )

  test("a port that is shared on purpose is, at any place", async () => {
    const other = takenPort()
    const call = `bind("0.0.0.0", ${other.port}, True)`
    expect((await binds(call, call, `bind("0.0.0.0", ${other.port})`)).output).toBe("ok ok EADDRINUSE ")
    other.stop(true)
  })

  test("an address of the pod can be spoken from", async () => {
    const network = new MemoryNetwork()
    const script = `
s = socket.socket(); s.bind(("10.99.0.7", 0)); s.connect(("10.99.1.1", 80)); s.sendall(b"hello"); print(s.recv(9), s.getsockname()[0])
u = socket.socket(type=socket.SOCK_DGRAM); u.bind(("10.99.0.7", 0)); u.sendto(b"hello", ("10.99.1.1", 80)); print(u.recv(9))
`
    const { output } = await runIn({ incoming: new MemoryIncoming(), outgoing: network }, python(script))
    expect(output).toBe("b'hello' 10.99.0.7\nb'hello'\n")
  })

  test("a signal interrupts an accept that waits", async () => {
    const free = takenPort()
    free.stop(true)
    const script = `
import signal
def handler(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler); signal.setitimer(signal.ITIMER_REAL, 0.3)
s = socket.socket(); s.bind(("", ${free.port})); s.listen()
try: s.accept()
except KeyboardInterrupt: print("interrupted")
`
    expect((await runIn({ incoming: new MemoryIncoming() }, python(script))).output).toBe("interrupted\n")
  })

  test("a signal loses no caller of an accept that still asks for the name", async () => {
    const free = takenPort()
    free.stop(true)
    const script = `
import signal
handled = []; signal.signal(signal.SIGALRM, lambda *_: handled.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
s = socket.socket(); s.bind(("", ${free.port})); s.listen(); c, a = s.accept(); print(c.recv(10), len(handled) > 0); c.sendall(b"served"); c.close()
`
    const incoming = new MemoryIncoming()
    const running = runIn({ incoming }, python(script))
    const { local } = await incoming.until(() => incoming.listeners[0])
    incoming.expected = Bun.sleep(1000)
    expect(await call(incoming, local)).toBe("served")
    expect((await running).output).toBe("b'hello\\n' True\n")
  })
})

test.if(installed("node"))("Node serves on a taken port", async () => {
  const other = takenPort()
  const incoming = new MemoryIncoming()
  const script = `
const s = require("net").createServer((c) => { console.log(c.remoteAddress, c.remotePort); c.once("data", () => { c.end("served"); s.close() }) })
s.listen(${other.port}, () => console.log(s.address().port))
`
  const running = runIn({ incoming }, ["node", "-e", script])
  const { local } = await incoming.until(() => incoming.listeners[0])
  expect(await call(incoming, local, caller)).toBe("served")
  const { output } = await running
  expect(output).toContain(`${other.port}\n`)
  other.stop(true)
})
