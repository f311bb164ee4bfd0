import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { MemoryNetwork } from "../../../test/fakes/memory-network.ts"
import { installed, runIn } from "../../../test/fakes/run-in-world.ts"

setDefaultTimeout(120_000)

const start = `
import os, signal, socket, struct, threading, time
handled = []; told = []
signal.signal(signal.SIGUSR1, lambda *_: handled.append(1))
def receiver(seconds):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("10.99.1.1", 7)); s.recvfrom(10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("qq", seconds, 0)); return s
def receive(s):
    try: s.recvfrom(10)
    except OSError as e: told.append(e.errno)
def thread(*work):
    made = threading.Thread(target=work[0], args=work[1:], daemon=True); made.start(); return made
`
const python = (script: string) => ["timeout", "-s", "KILL", "100", "/usr/bin/python3", "-c", start + script]

describe.if(installed("python3"))("a signal for the whole process while several threads wait for datagrams", () => {
  test("is handled by one of them, and the others wait on", async () => {
    const script = `
own, others = receiver(4), [thread(receive, receiver(1000)) for _ in range(3)]
def send():
    for _ in range(8): time.sleep(0.3); os.kill(os.getpid(), signal.SIGUSR1)
sender = thread(send); receive(own); sender.join()
print(len(handled), told == [11], [each.is_alive() for each in others])
`
    expect((await runIn({ outgoing: new MemoryNetwork() }, python(script))).output).toBe("8 True [True, True, True]\n")
  })

  test("is handled by one that does not block it", async () => {
    const script = `
thread(receive, receiver(1000)); signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR1); limit = time.time() + 60
while not handled and time.time() < limit: time.sleep(0.01)
print(len(handled), told)
`
    expect((await runIn({ outgoing: new MemoryNetwork() }, python(script))).output).toBe("1 []\n")
  })
})
