import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { MemoryNetwork } from "../../../test/fakes/memory-network.ts"
import { installed, runIn } from "../../../test/fakes/run-in-world.ts"

setDefaultTimeout(120_000)

const python = (script: string) => ["timeout", "-s", "KILL", "99", "/usr/bin/python3", "-c", `import socket\n${script}`]
const echo = () => ({ outgoing: new MemoryNetwork() })

describe.if(installed("python3"))("a program's datagrams", () => {
  test("reach a receiver that waits, however long the engine has been doing other things", async () => {
    const script = `
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"0", ("10.99.1.1", 7)); good = 0
for turn in range(50):
    data, source = s.recvfrom(10); good += data == b"%d" % turn and source == ("10.99.1.1", 7)
    s.sendto(b"%d" % (turn + 1), ("10.99.1.1", 7))
print(good)
`
    // What the runtime does now and then by itself, with all memory that nobody seems to use any more.
    const collecting = setInterval(() => Bun.gc(true), 5)
    const { output } = await runIn({ outgoing: new MemoryNetwork({ answersAfterMs: 30 }) }, python(script))
    clearInterval(collecting)
    expect(output).toBe("50\n")
  })

  test("have their true source for a thread that waited before anything was sent", async () => {
    const script = `
import threading, time
for family, to in ((socket.AF_INET, "10.99.1.1"), (socket.AF_INET6, "fd99::5")):
    s = socket.socket(family, socket.SOCK_DGRAM); s.bind(("", 0))
    receiver = threading.Thread(target=lambda: print(s.recvfrom(10)[1][:2]), daemon=True); receiver.start(); time.sleep(0.3)
    s.sendto(b"x", (to, 7)); receiver.join(5)
`
    expect((await runIn(echo(), python(script))).output).toBe("('10.99.1.1', 7)\n('fd99::5', 7)\n")
  })

  test("end with nothing for a thread that waits when the socket is shut down", async () => {
    const script = `
import threading, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("10.99.1.1", 7)); print(s.recvfrom(10))
receiver = threading.Thread(target=lambda: print(s.recvfrom(10)), daemon=True); receiver.start(); time.sleep(0.3)
try: s.shutdown(socket.SHUT_RDWR)
except OSError: pass
receiver.join(5); s.setblocking(False)
try: s.recvfrom(10)
except BlockingIOError: print("nothing there")
`
    const { output } = await runIn(echo(), python(script))
    expect(output).toBe("(b'x', ('10.99.1.1', 7))\n(b'', None)\nnothing there\n")
  })

  test("are answered under the port their socket has since it is no longer connected", async () => {
    const script = `
import ctypes
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect(("10.99.1.1", 7)); s.send(b"one"); print(s.recv(10))
port = s.getsockname()[1]; ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); taken.bind(("", port))
s.sendto(b"two", ("10.99.1.1", 7)); print(s.recvfrom(10), s.getsockname()[1] != port)
`
    expect((await runIn(echo(), python(script))).output).toBe("b'one'\n(b'two', ('10.99.1.1', 7)) True\n")
  })

  test("are refused to whoever has the socket when the thread or the process that connected it has ended", async () => {
    const script = `
import os, threading, time
def told(s):
    s.settimeout(3); s.send(b"x")
    try: s.recv(10)
    except OSError as e: return str(e.errno)
def make(): return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s = make(); connects = threading.Thread(target=s.connect, args=(("10.99.1.1", 81),)); connects.start(); connects.join(); time.sleep(0.1)
print(told(s)); ends, begins = os.pipe()
if os.fork() == 0:
    s = make(); s.connect(("10.99.1.1", 81)); parent = os.getpid()
    if os.fork() != 0: os._exit(0)
    while os.getppid() == parent: time.sleep(0.01)
    os.write(begins, told(s).encode()); os._exit(0)
os.wait(); print(os.read(ends, 10).decode())
`
    const outgoing = new MemoryNetwork({ refuses: (peer) => "endpoint" in peer && peer.endpoint.port === 81 })
    expect((await runIn({ outgoing }, python(script))).output).toBe("111\n111\n")
  })
})
