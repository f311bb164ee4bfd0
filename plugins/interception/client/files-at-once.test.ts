import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MemoryFiles } from "../../../test/fakes/memory-files.ts"
import { runIn } from "../../../test/fakes/run-in-world.ts"

/** Programs of every kind are started, on machines that may be busy. */
setDefaultTimeout(30_000)

/** A pod whose disk takes its time to write. */
function slowPod() {
  return new MemoryFiles({
    files: { "/remote/a.txt": "hello\n", "/remote/dir/b.txt": "bee\n" },
    links: { "/remote/link": "new" },
    delay: (what) => Bun.sleep(/^write|^append/.test(what) ? 150 : 0),
  })
}

const sh = (script: string, files: MemoryFiles) => runIn({ files }, ["bash", "-c", script])
const python = (script: string, files: MemoryFiles) => runIn({ files }, ["/usr/bin/python3", "-c", script])

describe("what was written past the engine", () => {
  test.each([
    ["while its writer still has it", "exec 3> /remote/new; echo one >&3; cat /remote/new; stat -c %s /remote/new"],
    ["by another spelling of its name", "echo one > /remote/dir/../new; cat /remote/./new; stat -c %s /remote//new"],
    ["below another working folder", "cd /remote/dir; echo one > ../new; cat ../new; stat -c %s /remote/new"],
    ["through a link", "echo one > /remote/new; cat /remote/link; stat -Lc %s /remote/link"],
    [
      "by a new name of its folder",
      "echo one > /remote/dir/x; mv /remote/dir /remote/e; cat /remote/e/x; stat -c %s /remote/e/x",
    ],
  ])("is there for the next reader %s", async (_, script) => {
    expect((await sh(script, slowPod())).output).toBe("one\n4\n")
  })

  test("arrives also when whoever wrote it is ended with the program", async () => {
    const files = slowPod()
    const script = "trap 'echo last; exit' TERM; echo first; while :; do sleep 0.05; done"
    await sh(`bash -c "${script}" > /remote/new & sleep 0.5`, files)
    expect({ text: files.text("/remote/new"), open: files.openFiles }).toEqual({ text: "first\nlast\n", open: 0 })
  })

  test("is let go of also when it was written faster than anybody could be told", async () => {
    let left: number | undefined
    const files: MemoryFiles = new MemoryFiles({
      files: { "/remote/go": "", "/remote/done": "" },
      delay: async (what) => {
        // More is written while podside stands still than the kernel keeps for it.
        if (what === "open /remote/go") setTimeout(() => Bun.sleepSync(700), 10)
        if (what === "open /remote/done") left = files.openFiles
      },
    })
    const script = `
import os, time
os.open("/remote/go", 0); time.sleep(0.05)
for _ in range(60000): os.write(1, b"o"); os.write(2, b"e")
`
    await sh(`/usr/bin/python3 -c '${script}' > /remote/out 2> /remote/err; sleep 1; cat /remote/done`, files)
    expect({ left, out: files.text("/remote/out")?.length, err: files.text("/remote/err")?.length }).toEqual({
      left: 0,
      out: 60000,
      err: 60000,
    })
  })

  test("is waited for only as far as it was there, while more is written", async () => {
    const script = `
import os, signal, threading
f = os.open("/remote/new", os.O_RDWR | os.O_CREAT); os.dup2(f, 9); signal.alarm(10)
def write():
    while True: os.write(9, b"x"); over.wait(0.02)
over = threading.Event(); threading.Thread(target=write, daemon=True).start()
over.wait(0.3); print(os.fstat(f).st_size > 0, flush=True); os._exit(0)
`
    expect((await python(script, slowPod())).output).toBe("True\n")
  })

  test("arrives also when its file was opened several times at once, and closed one after the other", async () => {
    const files = slowPod()
    const script = `exec >> /remote/new; exec 4>> /dev/stdout 5>> /dev/stdout 6>> /dev/stdout; sleep 0.2
for fd in 4 5 6; do echo $fd >&$fd; eval "exec $fd>&-"; sleep 0.2; done; echo last`
    await sh(script, files)
    expect(files.text("/remote/new")).toBe("4\n5\n6\nlast\n")
  })
})

test.each(["w", "a"])("a program and those it starts write to one open file in turn, opened with %s", async (mode) => {
  const files = slowPod()
  files.put("/remote/new", mode === "a" ? "zero\n" : "")
  const script = `
import subprocess
with open("/remote/new", "${mode}") as f:
    for n in range(3): subprocess.run(["echo", str(n)], stdout=f); f.write("between\\n"); f.flush()
`
  await python(script, files)
  const written = "0\nbetween\n1\nbetween\n2\nbetween\n"
  expect(files.text("/remote/new")).toBe(mode === "a" ? `zero\n${written}` : written)
})

test("a folder that cannot be entered leaves the program where it is", async () => {
  const script = "cd /remote/dir; cd /nowhere; cd /etc/passwd; cat b.txt; pwd -P"
  expect((await sh(`exec 2>/dev/null; ${script}`, slowPod())).output).toBe("bee\n/remote/dir\n")
})

test("what is no program, and waits for a writer, is refused as such", async () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-pipe-"))
  try {
    const script = `
import os
os.mkfifo("${folder}/pipe"); os.chmod("${folder}/pipe", 0o755)
try: os.execv("${folder}/pipe", ["pipe"])
except OSError as e: print(e.errno)
`
    expect((await python(script, slowPod())).output).toBe("13\n")
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("who opens a pipe of this machine by another name waits for its other end, and nobody else does", async () => {
  const folder = mkdtempSync(join(tmpdir(), "podside-pipe-"))
  const files = new MemoryFiles({
    files: { "/remote/a.txt": "hello\n" },
    place: (path) => ({
      place: path.startsWith("/remote/") ? "remote" : "local",
      path: path === "/nowhere/pipe" ? `${folder}/pipe` : path,
    }),
  })
  try {
    const script = `mkfifo ${folder}/pipe; cat /nowhere/pipe & sleep 0.3; cat /remote/a.txt; echo piped > /nowhere/pipe; wait`
    expect((await sh(script, files)).output).toBe("hello\npiped\n")
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test("an answer that comes late does not reach the program that another thread has started meanwhile", async () => {
  const files = new MemoryFiles({
    files: { "/remote/big": Buffer.alloc(300_000, "x") },
    delay: (what) => Bun.sleep(what.startsWith("read") ? 600 : 0),
  })
  const memory = `
import ctypes, os, sys, threading, time
c = ctypes.CDLL(None); at = ctypes.c_void_p(0x10000000); size = ctypes.c_size_t(4096)
assert c.mmap(at, size, 3, 0x32, -1, ctypes.c_long(0)) == 0x10000000
`
  const next = `${memory}time.sleep(2); print(ctypes.string_at(0x10000000, 4))`
  const script = `${memory}
f = os.open("/remote/big", 0)
def become(): time.sleep(0.3); os.execv(sys.executable, ["python3", "-c", """${next}"""])
threading.Thread(target=become).start()
c.read(f, at, size)
`
  expect((await python(script, files)).output).toBe(`${"b'\\x00\\x00\\x00\\x00'"}\n`)
})

describe("a file that is open", () => {
  test("shows what was changed by another descriptor", async () => {
    const files = new MemoryFiles({ files: { "/remote/a.txt": "hello\n", "/remote/big": Buffer.alloc(600_000, "x") } })
    const script = `
import os
r = os.open("/remote/big", 0); w = os.open("/remote/big", os.O_RDWR)
print(os.pread(r, 3, 0)); os.pwrite(w, b"new", 0); print(os.pread(r, 3, 0)); os.ftruncate(w, 10); print(os.lseek(r, 0, 2), os.pread(r, 100, 0))
r = os.open("/remote/a.txt", 0); w = os.open("/remote/a.txt", os.O_WRONLY | os.O_APPEND)
print(os.read(r, 100), os.read(r, 100)); os.write(w, b"more"); print(os.read(r, 100), os.fstat(r).st_size)
`
    expect((await python(script, files)).output).toBe("b'xxx'\nb'new'\n10 b'newxxxxxxx'\nb'hello\\n' b''\nb'more' 10\n")
  })

  test("is appended to once the program wants that, and a link is not followed where it does not", async () => {
    const script = `
import fcntl, os
f = os.open("/remote/a.txt", os.O_RDWR); fcntl.fcntl(f, fcntl.F_SETFL, os.O_APPEND); os.write(f, b"more"); print(os.pread(f, 20, 0))
for flags in (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT):
    try: print(os.open("/remote/link", flags | os.O_NOFOLLOW))
    except OSError as e: print(e.errno)
`
    expect((await python(script, slowPod())).output).toBe("b'hello\\nmore'\n40\n40\n40\n")
  })

  test("is made longer without cutting off what another thread writes", async () => {
    const files = new MemoryFiles({ delay: (what) => Bun.sleep(what === "fstat" ? 300 : 0) })
    const script = `
import os, threading, time
f = os.open("/remote/new", os.O_RDWR | os.O_CREAT)
longer = threading.Thread(target=lambda: os.posix_fallocate(f, 0, 10)); longer.start(); time.sleep(0.1)
os.pwrite(f, b"x" * 20, 0); longer.join()
`
    await python(script, files)
    expect(files.text("/remote/new")).toBe("x".repeat(20))
  })

  test("is a folder that several threads list together: each gets another part", async () => {
    const files = new MemoryFiles({
      files: { "/remote/dir/b.txt": "bee\n" },
      delay: (what) => Bun.sleep(what.startsWith("list") ? 200 : 0),
    })
    const script = `
import ctypes, os, platform, threading
c = ctypes.CDLL(None); f = os.open("/remote/dir", os.O_RDONLY)
number = 217 if platform.machine() == "x86_64" else 61
def part(): got.append(c.syscall(number, f, ctypes.create_string_buffer(1000), 1000))
got = []; threads = [threading.Thread(target=part) for _ in range(3)]
for each in threads: each.start()
for each in threads: each.join()
print(sorted(got))
`
    expect((await python(script, files)).output).toBe("[0, 0, 80]\n")
  })

  test("shows what was changed in the pod, mapped or not", async () => {
    const files: MemoryFiles = new MemoryFiles({
      files: { "/remote/big": Buffer.alloc(600_000, "x"), "/remote/go": "" },
      delay: async (what) => {
        const node = files.nodes.get("/remote/big")
        if (what !== "open /remote/go" || node?.kind !== "file") return
        node.bytes = Buffer.alloc(700_000, "y")
        node.mtimeNs += 1_000_000_000n
      },
    })
    const script = `
import mmap, os, time
f = os.open("/remote/big", 0); m = mmap.mmap(f, 0, prot=mmap.PROT_READ); g = os.open("/remote/big", 0)
print(m[-1:], os.pread(g, 1, 0)); os.open("/remote/go", 0); time.sleep(1.1); os.pread(g, 1, 0); time.sleep(0.1); print(os.pread(g, 1, 0))
m = mmap.mmap(f, os.fstat(f).st_size, prot=mmap.PROT_READ); print(len(m), m[-1:])
`
    expect((await python(script, files)).output).toBe("b'x' b'x'\nb'y'\n700000 b'y'\n")
  })
})

describe("splice from a pipe into a file", () => {
  const inTime = (script: string) =>
    runIn({ files: slowPod() }, ["timeout", "-s", "KILL", "10", "/usr/bin/python3", "-c", script])

  test("does not outlive its caller", async () => {
    const script = `
import os, signal, time
out = os.open("/remote/new", os.O_WRONLY | os.O_CREAT); r, w = os.pipe()
pid = os.fork()
if pid == 0: os.splice(r, out, 100); os._exit(0)
time.sleep(0.3); os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0); os.close(r); time.sleep(0.5)
try: os.write(w, b"x"); print("taken")
except BrokenPipeError: print("refused")
`
    expect((await inTime(script)).output).toBe("refused\n")
  })

  test("lets signals through", async () => {
    const script = `
import os, signal
out = os.open("/remote/new", os.O_WRONLY | os.O_CREAT); r, w = os.pipe()
signal.signal(signal.SIGALRM, lambda *_: os.write(w, b"late")); signal.alarm(1); print(os.splice(r, out, 100))
`
    expect((await inTime(script)).output).toBe("4\n")
  })

  test("waits on when somebody else was faster, and nobody else waits for that", async () => {
    const script = `
import os, threading, time
out = os.open("/remote/new", os.O_RDWR | os.O_CREAT); r, w = os.pipe(); os.write(w, b"first")
threading.Thread(target=lambda: os.write(out, b"slow")).start(); time.sleep(0.05)
splicing = threading.Thread(target=lambda: os.splice(r, out, 100)); splicing.start(); time.sleep(0.05); os.read(r, 5)
time.sleep(0.3); os.stat("/remote/a.txt"); print("goes on", flush=True); os.write(w, b"more"); splicing.join(); print(os.pread(out, 20, 0))
`
    expect((await inTime(script)).output).toBe("goes on\nb'slowmore'\n")
  })
})
