import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ErrnoError, type RemoteConnection, type RemotePeer } from "../../../core/client/engine.ts"
import { canHaveGoClient, goClient } from "../../../test/fakes/go-client.ts"
import { httpAnswer, MemoryDns, MemoryNetwork } from "../../../test/fakes/memory-network.ts"
import { installed, runIn } from "../../../test/fakes/run-in-world.ts"

/** Programs of every kind are started, on machines that may be busy. */
setDefaultTimeout(120_000)

const names = { "backend.default.svc.cluster.local": "10.99.1.2", "v4.example": "10.99.1.3" }
const refusal = { 81: 111, 82: 113, 83: 110 }

/** Port 81 refuses, 82 has no route, 83 times out; all others answer HTTP. */
function pod(options: { connecting?: () => Promise<void> } = {}) {
  const outgoing = new MemoryNetwork({
    async connecting(peer) {
      await options.connecting?.()
      const number = "endpoint" in peer && refusal[peer.endpoint.port as keyof typeof refusal]
      if (number) throw new ErrnoError(number, "as the test wants it")
    },
    answer: httpAnswer((head, peer) => `${JSON.stringify(peer)} ${head.split("\r\n")[0]}\n`),
  })
  return { outgoing, dns: new MemoryDns(names) }
}

const curl = (...args: string[]) => ["curl", "-sS", "--max-time", "10", ...args]
const python = (script: string) => ["/usr/bin/python3", "-c", script]

describe.if(installed("curl"))("curl", () => {
  test("by address", async () => {
    const { code, output } = await runIn(pod(), curl("http://10.99.1.1/x"))
    expect({ code, output }).toEqual({
      code: 0,
      output: '{"kind":"tcp","endpoint":{"ip":"10.99.1.1","port":80}} GET /x HTTP/1.1\n',
    })
  })

  test("by a name only the pod knows", async () => {
    const world = pod()
    expect((await runIn(world, curl("http://backend/y"))).output).toContain('"ip":"10.99.1.2"')
    expect(world.dns.asked).toContain("backend.default.svc.cluster.local 1")
  })

  test("a name nobody knows", async () => {
    const { code, output } = await runIn(pod(), curl("http://nowhere/"))
    expect(code).toBe(6)
    expect(output).toContain("Could not resolve host")
  })

  test("the remote refusal is seen by a non-blocking connect", async () => {
    const { code, output } = await runIn(pod(), curl("-v", "http://10.99.1.1:81/"))
    expect(code).toBe(7)
    expect(output).toContain("Connection refused")
  })

  test("a slow connect does not look connected", async () => {
    const world = pod({ connecting: () => Bun.sleep(2000) })
    const { code, output } = await runIn(world, curl("--connect-timeout", "0.3", "http://10.99.1.1/"))
    expect(code).toBe(28)
    expect(output).toMatch(/timed out|[Tt]imeout/)
  })

  test("IPv6", async () => {
    expect((await runIn(pod(), curl("http://[fd99::5]:8080/"))).output).toContain('{"ip":"fd99::5","port":8080}')
  })
})

describe("this machine's own services", () => {
  let server: Bun.Server<undefined>
  beforeAll(() => {
    server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("mine\n") })
  })
  afterAll(() => server.stop(true))

  test.if(installed("curl"))("stay reachable", async () => {
    const world = pod()
    expect(await runIn(world, curl(`http://127.0.0.1:${server.port}/`))).toEqual({ code: 0, output: "mine\n" })
    expect(world.outgoing.connected).toEqual([])
  })
})

describe.if(installed("python3"))("Python", () => {
  test("blocking sockets: names, errors, resolver", async () => {
    const script = `
import socket
s = socket.create_connection(("10.99.1.1", 80)); print(s.getpeername(), s.getsockname())
s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); print(s.recv(100)[:15])
for port in (81, 82, 83):
    try: socket.create_connection(("10.99.1.1", port))
    except OSError as e: print(e.errno)
print(socket.gethostbyname("backend"))
try: socket.getaddrinfo("nowhere", 80)
except OSError as e: print(e)
`
    expect((await runIn(pod(), python(script))).output).toBe(
      `('10.99.1.1', 80) ('10.99.0.7', 40000)\nb'HTTP/1.1 200 OK'\n111\n113\n110\n10.99.1.2\n[Errno -2] Name or service not known\n`,
    )
  })

  test("non-blocking sockets: pending, then connected or failed with the remote reason", async () => {
    const script = `
import socket, select, errno
def go(port):
    s = socket.socket(); s.setblocking(False)
    print(errno.errorcode[s.connect_ex(("10.99.1.1", port))], end=" ")
    p = select.poll(); p.register(s, select.POLLOUT)
    print(p.poll(0), end=" "); p.poll(5000)
    print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), end=" ")
    return s
s = go(80); print(s.getpeername(), [s.connect_ex(("10.99.1.1", 80)) for _ in range(2)][1] == errno.EISCONN)
s = go(81); print()
s = go(82); print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
`
    const world = pod({ connecting: () => Bun.sleep(500) })
    expect((await runIn(world, python(script))).output).toBe(
      `EINPROGRESS [] 0 ('10.99.1.1', 80) True\nEINPROGRESS [] 111 \nEINPROGRESS [] 113 0\n`,
    )
  })

  test("a socket that was refused is as good as new", async () => {
    const script = `
import socket, errno, select
def connect(s, port):
    told = s.connect_ex(("10.99.1.1", port))
    if s.getblocking() or told != errno.EINPROGRESS: return told
    select.select([], [s], []); return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
def go(blocking):
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.setblocking(blocking)
    print(errno.errorcode[connect(s, 81)], s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), end=" ")
    try: s.getpeername()
    except OSError as e: print(errno.errorcode[e.errno], end=" ")
    print(connect(s, 80), s.getpeername(), end=" ")
    s.setblocking(True); s.sendall(b"GET /again HTTP/1.0\\r\\n\\r\\n"); print(b"GET /again" in s.recv(500))
go(True); go(False)
`
    const expected = "ECONNREFUSED 0 ENOTCONN 0 ('10.99.1.1', 80) True\n"
    expect((await runIn(pod(), python(script))).output).toBe(expected.repeat(2))
  })

  test("a socket that is waited for before it connects tells nothing until the remote side has answered", async () => {
    const script = `
import socket, select, errno
def go(port):
    s = socket.socket(); s.setblocking(False); e = select.epoll()
    e.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET); e.poll(0)
    print(errno.errorcode[s.connect_ex(("10.99.1.1", port))], e.poll(0.05), end=" ")
    told = e.poll(5)[0][1]
    print(bool(told & select.EPOLLOUT), bool(told & select.EPOLLERR), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
go(80); go(81)
`
    const world = pod({ connecting: () => Bun.sleep(600) })
    expect((await runIn(world, python(script))).output).toBe(
      "EINPROGRESS [] True False 0\nEINPROGRESS [] True True 111\n",
    )
  })

  test("a connection that breaks off does not look ended, and what came before is there", async () => {
    const outgoing = new MemoryNetwork({
      answer: (data) => Buffer.from("half of the answ").subarray(0, data.length * 4),
      refuses: (peer) => "endpoint" in peer && peer.endpoint.port === 81,
    })
    const script = `
import socket
def end(port):
    s = socket.create_connection(("10.99.1.1", port)); said = b""
    try:
        s.sendall(b"tell")
        if port == 80: s.shutdown(socket.SHUT_WR)
        while piece := s.recv(9): said += piece
    except OSError as e: return said, e.errno
    return said
print(end(80), end(81))
`
    expect((await runIn({ outgoing }, python(script))).output).toBe("b'half of the answ' (b'', 104)\n")
  })

  test("bytes come through whole in both directions, with half close", async () => {
    const script = `
import socket, threading, hashlib, os
s = socket.create_connection(("10.99.1.1", 7)); data = os.urandom(20_000_000); got = hashlib.md5()
def receive():
    while True:
        b = s.recv(65536)
        if not b: break
        got.update(b)
t = threading.Thread(target=receive); t.start(); s.sendall(data); s.shutdown(socket.SHUT_WR); t.join()
print(got.digest() == hashlib.md5(data).digest())
`
    const outgoing = new MemoryNetwork()
    expect((await runIn({ outgoing }, python(script))).output).toBe("True\n")
    expect(outgoing.open).toBe(0)
  })

  test("a program that closes after the answer ends the connection, one that only ends its direction still hears", async () => {
    const script = `
import socket
for _ in range(3):
    s = socket.create_connection(("10.99.1.1", 7)); s.sendall(b"x"); print(s.recv(1)); s.close()
s = socket.create_connection(("10.99.1.1", 7)); s.sendall(b"x"); print(s.recv(1))
s.shutdown(socket.SHUT_WR); print(s.recv(1))
s = socket.create_connection(("10.99.1.1", 7)); s.sendall(b"y" * 100); s.close()
`
    const outgoing = new MemoryNetwork({ answer: (data) => (data[0] === 0x79 ? undefined : data) })
    expect((await runIn({ outgoing }, python(script))).output).toBe("b'x'\nb'x'\nb'x'\nb'x'\nb''\n")
    expect(outgoing.open).toBe(0)
    // Half closes: of the fourth, and of the fifth, whose last word nobody has answered. The kernel tells of an end a moment before
    // it lets the owner go, so one of the others may look like one, too.
    expect([2, 3]).toContain(outgoing.ended)
  })

  test("a socket of the resolver's has the name server for a peer, until it is connected elsewhere", async () => {
    const script = `
import ctypes, socket
query = bytes.fromhex("abcd01000001000000000000") + b"\\x07backend\\x07default\\x03svc\\x07cluster\\x05local\\0\\0\\x01\\0\\x01"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
s.connect(("10.99.0.10", 53)); s.send(query); d, a = s.recvfrom(512)
print(d[:2].hex(), d[-4:].hex(), a, s.getpeername(), s.getsockname()[0])
s.connect(("10.99.1.1", 99)); s.send(b"one"); print(s.recv(10), s.getpeername())
s.connect(("10.99.0.10", 53)); print(s.getpeername())
print(ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16))
try: s.getpeername()
except OSError as e: print(e.errno)
`
    expect((await runIn(pod(), python(script))).output).toMatch(
      /^abcd 0a630102 \('10.99.0.10', 53\) \('10.99.0.10', 53\) 127.0.0.1\nb'.*' \('10.99.1.1', 99\)\n\('10.99.0.10', 53\)\n0\n107\n$/,
    )
  })

  test("what a socket of the resolver's receives is named by who sent it, cut where the program has less room", async () => {
    const script = `
import errno, socket
query = bytes.fromhex("abcd01000001000000000000") + b"\\x07backend\\x07default\\x03svc\\x07cluster\\x05local\\0\\0\\x01\\0\\x01"
here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); here.bind(("127.0.0.1", 0))
def resolver(family, server):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5); s.connect((server, 53)); return s
def round(s, room=512):
    s.send(query); d, a = s.recvfrom(room); print(len(d), a[:2], end=" ")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.bind(("127.0.0.1", 0))
here.sendto(b"before", s.getsockname()); s.connect(("10.99.0.10", 53))
d, a = s.recvfrom(9); print(d, a == here.getsockname(), end=" ")
round(s); round(s, 7); print()
round(resolver(socket.AF_INET6, "::ffff:10.99.0.10")); print()
b = resolver(socket.AF_INET, "10.99.0.10"); b.settimeout(0.2)
try: b.recvfrom(9)
except TimeoutError: print("timeout", end=" ")
b.setblocking(False)
try: b.recvfrom(9)
except OSError as e: print(errno.errorcode[e.errno])
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5); u.sendto(b"two", ("10.99.1.1", 98)); print(u.recvfrom(10))
round(s); print()
`
    const name = "('10.99.0.10', 53)"
    expect((await runIn(pod(), python(script))).output).toBe(
      [
        `b'before' True 67 ${name} 7 ${name} `,
        "67 ('::ffff:10.99.0.10', 53) ",
        "timeout EAGAIN",
        "(b'HTTP/1.1 2', ('10.99.1.1', 98))",
        `67 ${name} `,
        "",
      ].join("\n"),
    )
  })

  test("UDP: connected, unconnected, by message, with the true addresses", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
s.connect(("10.99.1.1", 99)); s.send(b"one"); print(s.recv(10), s.getpeername(), s.getsockname())
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
u.sendto(b"two", ("10.99.1.1", 98)); print(u.recvfrom(10))
u.sendto(b"three", ("10.99.1.4", 97)); print(u.recvfrom(10))
u.sendmsg([b"fo", b"ur"], [], 0, ("10.99.1.1", 98)); d, _, _, a = u.recvmsg(10); print(d, a)
v = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); v.settimeout(5)
v.sendto(b"five", ("::ffff:10.99.1.1", 96)); print(v.recvfrom(10)[:2])
b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.sendto(b"six", ("10.99.1.1", 95)); print(b.recvfrom(10))
u.settimeout(0.2)
try: u.recvfrom(10)
except TimeoutError: print("timeout")
l = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); l.bind(("127.0.0.1", 0)); l.settimeout(5)
u.sendto(b"seven", l.getsockname()); d, a = l.recvfrom(10); print(d, a[1] == u.getsockname()[1])
`
    const outgoing = new MemoryNetwork()
    expect((await runIn({ outgoing }, python(script))).output).toBe(
      [
        "b'one' ('10.99.1.1', 99) ('10.99.0.7', 40000)",
        "(b'two', ('10.99.1.1', 98))",
        "(b'three', ('10.99.1.4', 97))",
        "b'four' ('10.99.1.1', 98)",
        "(b'five', ('::ffff:10.99.1.1', 96, 0, 0))",
        "(b'six', ('10.99.1.1', 95))",
        "timeout",
        "b'seven' True",
        "",
      ].join("\n"),
    )
  })

  test("datagrams for its own sockets on the loopback stay here, those for others' go to the pod", async () => {
    const other = await Bun.udpSocket({ hostname: "127.0.0.1", port: 0 })
    const outgoing = new MemoryNetwork({ isRemote: ({ kind }) => kind === "udp" })
    const script = `
import os, socket
def make(ip):
    s = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); return s
for ip in ("127.0.0.1", "::1"):
    server, client, connected = make(ip), make(ip), make(ip); server.bind((ip, 0)); to = server.getsockname()
    client.sendto(b"ask", to); question, whom = server.recvfrom(10); server.sendto(b"answer", whom); print(question, client.recv(10), end=" ")
    if os.fork() == 0:
        connected.connect(to); connected.send(b"child"); os._exit(0)
    print(server.recv(10), end=" ")
client = make("127.0.0.1"); client.sendto(b"echo", ("127.0.0.1", ${other.port})); print(client.recv(10))
`
    const { output } = await runIn({ outgoing }, python(script))
    expect(output).toBe(`${"b'ask' b'answer' b'child' ".repeat(2)}b'echo'\n`)
    expect(outgoing.connected).toEqual([{ kind: "udp", endpoint: { ip: "127.0.0.1", port: other.port } }])
    other.close()
  })

  test("a connected UDP socket learns that nobody takes its datagrams, and may go on", async () => {
    const script = `
import errno, select, socket
def make(family, *to):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(3); s.connect(to); return s
def code(work):
    try: return work()
    except OSError as e: return errno.errorcode.get(e.errno, "timeout")
for s in (make(socket.AF_INET, "10.99.1.1", 81), make(socket.AF_INET6, "::ffff:10.99.1.1", 81), make(socket.AF_INET6, "fd99::1", 81)):
    s.send(b"one"); print(code(lambda: s.recv(10)), end=" ")
    p = select.poll(); p.register(s, select.POLLIN); s.send(b"two"); print(p.poll(3000)[0][1] & select.POLLERR > 0, end=" ")
    print(code(lambda: s.send(b"three")), s.getpeername()[1], code(lambda: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
a = make(socket.AF_INET, "10.99.1.1", 82); a.send(b"open"); print(a.recv(10))
a.connect(("10.99.1.1", 81)); a.send(b"x"); print(code(lambda: a.recv(10)))
a.connect(("10.99.1.1", 82)); a.send(b"again"); print(a.recv(10))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(0.3)
u.sendto(b"x", ("10.99.1.1", 81)); print(code(lambda: u.recvfrom(10)))
u.sendto(b"y", ("10.99.1.1", 82)); print(u.recvfrom(10))
`
    const outgoing = new MemoryNetwork({ refuses: (peer) => "endpoint" in peer && peer.endpoint.port === 81 })
    expect((await runIn({ outgoing }, python(script))).output).toBe(
      [
        ...Array(3).fill("ECONNREFUSED True ECONNREFUSED 81 0"),
        "b'open'",
        "ECONNREFUSED",
        "b'again'",
        "timeout",
        "(b'y', ('10.99.1.1', 82))",
        "",
      ].join("\n"),
    )
  })

  test("every datagram of a connected UDP socket is refused, however soon it follows the refusal before", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("10.99.1.1", 81)); told = 0
for _ in range(400):
    s.send(b"x")
    try: s.recv(10)
    except ConnectionRefusedError: told += 1
    except TimeoutError: break
s.close()
print(told)
`
    const outgoing = new MemoryNetwork({ refuses: (peer) => "endpoint" in peer && peer.endpoint.port === 81 })
    expect((await runIn({ outgoing }, python(script))).output).toBe("400\n")
  })

  test("a UDP socket that was refused is heard under the port it gets when it is connected anew", async () => {
    const script = `
import ctypes, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("10.99.1.1", 81)); s.send(b"one"); ports = [s.getsockname()[1]]
try: s.recv(10)
except ConnectionRefusedError: print("refused", end=" ")
ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16); taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); taken.bind(("", ports[0]))
s.connect(("10.99.1.1", 81)); ports.append(s.getsockname()[1]); s.send(b"two"); print(s.recv(10), ports[0] != ports[1])
`
    let refusals = 1
    const outgoing = new MemoryNetwork({ refuses: (peer) => "endpoint" in peer && refusals-- > 0 })
    expect((await runIn({ outgoing }, python(script))).output).toBe("refused b'two' True\n")
  })

  test("a blocking connect ends after the socket's time limit, and what comes too late is closed", async () => {
    const script = `
import errno, socket, struct, time
def go(limit):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("qq", *limit)); start = time.monotonic()
    print(errno.errorcode.get(s.connect_ex(("10.99.1.1", 80)), 0), time.monotonic() - start < 2.4, end=" "); return s
go((0, 100_000)); s = go((20, 0)); s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); print(s.recv(15)); s.close(); time.sleep(0.2)
`
    const world = pod({ connecting: () => Bun.sleep(2500) })
    expect((await runIn(world, python(script))).output).toBe("EINPROGRESS True 0 False b'HTTP/1.1 200 OK'\n")
    expect(world.outgoing.connected).toHaveLength(2)
    expect(world.outgoing.open).toBe(0)
  })

  test("a socket keeps the port it was bound to", async () => {
    const script = `
import socket
def go(kind, family, blocking):
    s = socket.socket(family, kind); s.bind(("", 0)); port = s.getsockname()[1]; s.setblocking(blocking)
    s.connect_ex(("10.99.1.1" if family == socket.AF_INET else "fd99::1", 80)); s.settimeout(5); s.send(b"x"); s.recv(1)
    print(s.getsockname()[0], s.getsockname()[1] == port, end=" ")
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    for family in (socket.AF_INET, socket.AF_INET6):
        for blocking in (True, False): go(kind, family, blocking)
`
    const { output } = await runIn({ outgoing: new MemoryNetwork() }, python(script))
    expect(output).toBe("10.99.0.7 True 10.99.0.7 True ::ffff:10.99.0.7 True ::ffff:10.99.0.7 True ".repeat(2))
  })

  test("sockets that share a port have names of their own", async () => {
    const script = `
import select, socket
def bound(port):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", port)); return s
def begin(s, ip):
    s.setblocking(False); s.connect_ex((ip, 80)); return s
def stands(s): select.select([], [s], [], 10)
stands(begin(socket.socket(), "10.99.1.3"))
one = bound(0); port = one.getsockname()[1]; one.connect(("10.99.1.1", 80)); two = begin(bound(port), "10.99.1.2"); stands(two)
print(one.getpeername(), two.getpeername(), one.connect_ex(("10.99.1.4", 80))); two.close(); time.sleep(0.3); print(one.getpeername())
`
    // Slow, so that not all of them are joined the same way; of agents that do not tell their end of a connection.
    const outgoing = new (class extends MemoryNetwork {
      override async connect(peer: RemotePeer): Promise<RemoteConnection> {
        await Bun.sleep(50)
        const { local: _, ...connection } = await super.connect(peer)
        return connection
      }
    })()
    expect((await runIn({ outgoing }, python(`import time\n${script}`))).output).toBe(
      "('10.99.1.1', 80) ('10.99.1.2', 80) 106\n('10.99.1.1', 80)\n",
    )
  })

  test("sockets bound to an address of their own", async () => {
    const script = `
import socket, select
def make(kind): s = socket.socket(socket.AF_INET, kind); s.bind(("127.0.0.3", 0)); s.settimeout(5); return s
s = make(socket.SOCK_STREAM); s.connect(("10.99.1.1", 7)); s.sendall(b"one"); print(s.recv(10))
b = make(socket.SOCK_STREAM); b.settimeout(None); b.connect(("10.99.1.1", 7)); b.sendall(b"two"); print(b.recv(10))
u = make(socket.SOCK_DGRAM); u.sendto(b"three", ("10.99.1.1", 9)); print(u.recvfrom(10))
`
    expect((await runIn({ outgoing: new MemoryNetwork() }, python(script))).output).toBe(
      `b'one'\nb'two'\n(b'three', ('10.99.1.1', 9))\n`,
    )
  })

  test("a stream cannot be bound to an interface, which would never reach the pod; datagrams of this machine can", async () => {
    const script = `
import socket
lo = b"lo" + bytes(1)
def bound(kind):
    s = socket.socket(socket.AF_INET, kind)
    try: s.setsockopt(socket.SOL_SOCKET, 25, lo)
    except OSError as e: return e.errno
    return s.getsockopt(socket.SOL_SOCKET, 25, 16)[:2]
print(bound(socket.SOCK_STREAM), bound(socket.SOCK_DGRAM))
`
    expect((await runIn(pod(), python(script))).output).toBe("1 b'lo'\n")
  })

  test("sockets of multipath TCP", async () => {
    const script = `
import socket
try: s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError: print("b'one'"); raise SystemExit
s.settimeout(5); s.connect(("10.99.1.1", 7)); s.sendall(b"one"); print(s.recv(10))
`
    expect((await runIn({ outgoing: new MemoryNetwork() }, python(script))).output).toBe("b'one'\n")
  })

  test("sockets that speak IPv6 only", async () => {
    const script = `
import socket
def make(kind):
    s = socket.socket(socket.AF_INET6, kind); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); s.settimeout(5); return s
s = make(socket.SOCK_STREAM); s.connect(("fd99::1", 7)); s.sendall(b"one"); print(s.recv(10), s.getpeername()[:2])
b = socket.socket(socket.AF_INET6); b.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); b.connect(("fd99::1", 7)); b.sendall(b"two"); print(b.recv(10))
u = make(socket.SOCK_DGRAM); u.sendto(b"three", ("fd99::1", 9)); print(u.recvfrom(10)[0], u.getsockname()[1] > 0)
`
    const outgoing = new MemoryNetwork()
    expect((await runIn({ outgoing }, python(script))).output).toBe(`b'one' ('fd99::1', 7)\nb'two'\nb'three' True\n`)
  })

  test("a local connection to an address the pod told leads where this machine says", async () => {
    const here = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: (socket) => void socket.end("here"), data() {} },
    })
    const outgoing = new MemoryNetwork({ isRemote: () => false })
    const elsewhere = () => async () => ({ ip: "127.0.0.1", port: here.port })
    const script = `
import socket
for wait in (None, 0):
  s = socket.socket(); s.settimeout(10)
  if wait == 0: s.setblocking(False)
  print(s.connect_ex(("192.0.2.1", 5432)))
  s.settimeout(10); print(s.recv(10))
`
    try {
      const { output } = await runIn({ outgoing: Object.assign(outgoing, { elsewhere }) }, python(script))
      expect(output).toBe("0\nb'here'\n0\nb'here'\n")
    } finally {
      here.stop(true)
    }
  })

  test("a world without IPv6 has no such sockets", async () => {
    const script = `
import socket, errno
print(socket.socket().connect_ex(("10.99.1.1", 80)))
try: socket.socket(socket.AF_INET6)
except OSError as e: print(errno.errorcode[e.errno])
`
    expect((await runIn({ ...pod(), withoutIpv6: true }, python(script))).output).toBe("0\nEAFNOSUPPORT\n")
  })

  test("a unix socket of the pod", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_UNIX); s.connect("/remote/app.sock"); s.sendall(b"hi"); print(s.recv(10), s.getpeername())
`
    const outgoing = new MemoryNetwork()
    expect((await runIn({ outgoing }, python(script))).output).toBe("b'hi' /remote/app.sock\n")
  })

  test("a unix socket of packets of the pod", async () => {
    const script = `
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect("/remote/app.sock")
for n in (1, 1000, 65536): s.send(b"x" * n)
print([len(s.recv(100000)) for _ in range(3)], s.getpeername())
s.shutdown(socket.SHUT_WR); print(s.recv(10))
`
    const outgoing = new MemoryNetwork()
    expect((await runIn({ outgoing }, python(script))).output).toBe("[1, 1000, 65536] /remote/app.sock\nb''\n")
    expect(outgoing.open).toBe(0)
  })

  test("a signal interrupts a connect that waits", async () => {
    const script = `
import signal, socket, time
def handler(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler); signal.setitimer(signal.ITIMER_REAL, 0.3); t = time.time()
try: socket.socket().connect(("10.99.1.1", 80))
except KeyboardInterrupt: print("interrupted", time.time() - t < 5)
`
    const world = pod({ connecting: () => Bun.sleep(10_000) })
    expect((await runIn(world, python(script))).output).toBe("interrupted True\n")
  }, 120_000)

  test.each([
    ["makes again", "once", false],
    ["makes again", "all the time", false],
    ["does not make again", "once", true],
    ["does not make again", "all the time", true],
  ])(
    "a connect that the program %s after a signal, which comes %s, goes on, and is told as it is",
    async (_, often, ends) => {
      const script = `
import signal, socket
handled = []; signal.signal(signal.SIGALRM, lambda *_: handled.append(1)); signal.siginterrupt(signal.SIGALRM, ${ends ? "True" : "False"})
for port in (80, 81):
    signal.setitimer(signal.ITIMER_REAL, 0.2, ${often === "once" ? 0 : 0.2}); s = socket.socket()
    try: s.connect(("10.99.1.1", port)); s.sendall(b"GET /x HTTP/1.0\\r\\n\\r\\n"); print(s.getpeername(), b"GET /x" in s.recv(500))
    except OSError as e: print(e.errno)
    signal.setitimer(signal.ITIMER_REAL, 0); s.close()
print(len(handled) > 1)
`
      let asked = 0
      const world = pod({
        connecting: () => {
          asked++
          return Bun.sleep(1000)
        },
      })
      expect((await runIn(world, python(script))).output).toBe("('10.99.1.1', 80) True\n111\nTrue\n")
      expect([asked, world.outgoing.open]).toEqual([2, 0])
    },
  )

  test("DNS over TCP", async () => {
    const script = `
import socket, struct
q = bytes.fromhex("123401000001000000000000") + b"\\x02v4\\x07example\\x00\\x00\\x01\\x00\\x01"
s = socket.create_connection(("10.99.0.10", 53)); s.sendall(struct.pack(">H", len(q)) + q); print(s.recv(500)[-4:].hex())
`
    expect((await runIn(pod(), python(script))).output).toBe("0a630103\n")
  })
})

test.if(installed("python3"))(
  "answers to sockets that are gone disturb nobody",
  async () => {
    const script = `
import socket, struct, time
label = b"\\x07backend\\x07default\\x03svc\\x07cluster\\x05local\\x00"
query = struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + label + struct.pack(">HH", 1, 1)
for _ in range(20):
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.connect(("10.99.0.10", 53))
    gone.send(query)
    gone.close()
time.sleep(0.2)
for _ in range(5):
    print(socket.gethostbyname("backend"))
`
    const { code, output } = await runIn(pod(), python(script))
    expect({ code, output }).toEqual({ code: 0, output: "10.99.1.2\n".repeat(5) })
  },
  60_000,
)

test.if(installed("python3"))(
  "datagrams for sockets that are gone disturb nobody",
  async () => {
    const late = new MemoryNetwork({ answersAfterMs: 200 })
    const script = `
import socket, time
for _ in range(5):
    gone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gone.connect(("10.99.1.1", 99))
    for _ in range(5):
        gone.send(b"x")
    gone.close()
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.settimeout(5)
other.connect(("10.99.1.1", 99))
time.sleep(0.3)
other.send(b"here")
print(other.recv(10))
`
    const { code, output } = await runIn({ outgoing: late }, python(script))
    expect({ code, output }).toEqual({ code: 0, output: "b'here'\n" })
  },
  60_000,
)

describe.if(installed("node"))("Node", () => {
  test("fetch, lookup, resolver, datagrams", async () => {
    const script = `
const dns = require("dns").promises, dgram = require("dgram")
const run = async () => {
  console.log((await dns.lookup("backend")).address, await dns.resolve4("v4.example"))
  console.log((await (await fetch("http://backend/n")).text()).trim())
  await fetch("http://10.99.1.1:81/").catch((e) => console.log(e.cause.code))
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => fetch("http://10.99.3." + i + "/").then((r) => r.text())))
  console.log(all.every((text, i) => text.includes('"10.99.3.' + i + '"')))
  const u = dgram.createSocket("udp4")
  u.on("message", (_, from) => { console.log(from.address, from.port); u.close() })
  u.send("hi", 99, "10.99.1.1")
}
run()
`
    expect((await runIn(pod(), ["node", "-e", script])).output).toBe(
      `10.99.1.2 [ '10.99.1.3' ]\n{"kind":"tcp","endpoint":{"ip":"10.99.1.2","port":80}} GET /n HTTP/1.1\nECONNREFUSED\ntrue\n10.99.1.1 99\n`,
    )
  }, 120_000)
})

describe.if(canHaveGoClient())("static Go", () => {
  let folder: string
  let program: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "podside-go-"))
    program = goClient(folder)
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true }))

  test("connects, resolves, fails, and does so from a hundred goroutines", async () => {
    const { output } = await runIn(pod(), [program])
    expect(output).toBe(
      `[10.99.1.2] <nil>\n10.99.1.1:80 10.99.0.7\ndial tcp 10.99.1.1:81: connect: connection refused\nok 100\n10.99.1.1:98 <nil>\n`,
    )
  }, 120_000)
})
