import { MemoryFiles } from "../fakes/memory-files.ts"
import { MemoryDns, MemoryIncoming, MemoryNetwork } from "../fakes/memory-network.ts"
import { runIn } from "../fakes/run-in-world.ts"

/*
 * What the process engine costs a program, per call, against the same program without it, in one run:
 *   bun test/bench/engine.ts
 * The world answers from memory, so a remote row is the engine's own share of a call. Ratios count, not microseconds.
 */

const script = `
import os, socket, sys, time
def row(name, count, call):
    for _ in range(20): call()
    best = 1e9
    for _ in range(5):
        t = time.perf_counter()
        for _ in range(count): call()
        best = min(best, (time.perf_counter() - t) / count)
    print(name, best * 1e6, sep="|")
fd = os.open("/dev/zero", os.O_RDONLY)
row("read of an ordinary descriptor", 20000, lambda: os.read(fd, 1))
row("fstat of an ordinary descriptor", 20000, lambda: os.fstat(fd))
row("getppid", 20000, os.getppid)
row("stat of a local file", 2000, lambda: os.stat("/usr/bin/env"))
row("open, read, close of a local file", 2000, lambda: (lambda f: (os.read(f, 100), os.close(f)))(os.open("/etc/passwd", 0)))
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(1000)
def connect():
    c = socket.socket(); c.connect(s.getsockname()); c.close()
row("connect to a local listener", 100, connect)
row("fork, exec and end of a small process", 40, lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0))
if len(sys.argv) > 1:
    row("stat of a remote file", 1000, lambda: os.stat("/remote/a.txt"))
    row("open, read, close of a remote file", 500, lambda: (lambda f: (os.read(f, 100), os.close(f)))(os.open("/remote/a.txt", 0)))
    def remote():
        c = socket.create_connection(("10.99.1.1", 80)); c.sendall(b"x"); c.recv(1); c.close()
    row("connect and one byte, remote", 200, remote)
    f = os.open("/remote/big", 0)
    t = time.perf_counter(); n = 0
    while True:
        b = os.read(f, 1 << 20)
        if not b: break
        n += len(b)
    print("MB/s reading a large remote file", n / (time.perf_counter() - t) / 1e6, sep="|")
    c = socket.create_connection(("10.99.1.1", 80)); c.sendall(b"x"); d = bytes(1 << 16)
    t = time.perf_counter()
    import threading
    threading.Thread(target=lambda: [c.sendall(d) for _ in range(3200)]).start()
    n = -1
    while n < 3200 << 16: n += len(c.recv(1 << 18))
    print("MB/s echoed by a remote connection", n / (time.perf_counter() - t) / 1e6, sep="|")
`

type Rows = Map<string, number>

function rowsOf(output: string): Rows {
  return new Map(
    output
      .trim()
      .split("\n")
      .map((line) => line.split("|") as [string, string])
      .map(([n, v]) => [n, Number(v)]),
  )
}

const python = "/usr/bin/python3"
const direct = rowsOf(Bun.spawnSync([python, "-c", script]).stdout.toString())
const world = {
  files: new MemoryFiles({ files: { "/remote/a.txt": "hello\n", "/remote/big": Buffer.alloc(200_000_000) } }),
  outgoing: new MemoryNetwork(),
  dns: new MemoryDns({}),
  incoming: new MemoryIncoming(),
  hostname: async () => "the-pod",
}
const { output } = await runIn(world, [python, "-c", script, "remote"])
const under = rowsOf(output)

console.log("call                                     direct µs   in the pod µs    ratio")
for (const [name, value] of under) {
  const alone = direct.get(name)
  const left = alone === undefined ? "-" : alone.toFixed(2)
  const ratio = alone === undefined ? "-" : (value / alone).toFixed(2)
  console.log(`${name.padEnd(40)} ${left.padStart(9)} ${value.toFixed(2).padStart(15)} ${ratio.padStart(8)}`)
}

const start = async (times: number, run: () => Promise<unknown>) => {
  let best = Number.POSITIVE_INFINITY
  for (let time = 0; time < times; time++) {
    const before = performance.now()
    await run()
    best = Math.min(best, performance.now() - before)
  }
  return best
}
const alone = await start(10, () => Bun.spawn(["/bin/sh", "-c", "exec true"]).exited)
const within = await start(10, () => runIn(world, ["true"]))
console.log(`\`true\` from start to end, ms: ${alone.toFixed(1)} direct, ${within.toFixed(1)} in the pod`)
