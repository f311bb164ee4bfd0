import { describe, expect, setDefaultTimeout, test } from "bun:test"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ErrnoError, type FilePlace, OpenLocally } from "../../../core/client/engine.ts"
import { errno } from "../../../core/linux/errno.ts"
import { MemoryFiles } from "../../../test/fakes/memory-files.ts"
import { installed, runIn } from "../../../test/fakes/run-in-world.ts"

/** Programs of every kind are started, on machines that may be busy. */
setDefaultTimeout(120_000)

const big = Buffer.alloc(3_000_000)
for (let at = 0; at < big.length; at += 4) big.writeUInt32LE(at, at)
const sum = (bytes: Uint8Array) => new Bun.CryptoHasher("md5").update(bytes).digest("hex")

function pod() {
  return new MemoryFiles({
    files: { "/remote/a.txt": "hello from the pod\n", "/remote/dir/b.txt": "bee\n", "/remote/big": big },
    links: { "/remote/link": "a.txt" },
  })
}

/** How many of the memory files of remote ones this process has. */
function memoryFiles(): number {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ""
    }
  })
  return links.filter((link) => link.startsWith("/memfd:/remote")).length
}

const sh = (script: string, files = pod()) => runIn({ files }, ["bash", "-c", script])

describe("reading", () => {
  test("what is closed, is not there or is refused leaves nothing in memory", async () => {
    const script = `
import os, time
def refused(*args):
    try: os.open(*args)
    except OSError as e: return e.errno
print({refused("/remote/none%d" % i, 0) for i in range(200)}, {refused("/remote/a.txt", os.O_DIRECTORY) for _ in range(200)})
for _ in range(1000): os.close(os.open("/remote/a.txt", 0))
time.sleep(0.3)
`
    let most = 0
    const watching = setInterval(() => {
      most = Math.max(most, memoryFiles())
    }, 5)
    const { output } = await runIn({ files: pod() }, ["/usr/bin/python3", "-c", script])
    clearInterval(watching)
    expect(output).toBe("{2} {20}\n")
    expect(most).toBeLessThan(400)
    expect(memoryFiles()).toBe(0)
  })

  test.each([
    ["a small file", "cat /remote/a.txt", "hello from the pod\n"],
    ["a file by redirection", "cat < /remote/a.txt", "hello from the pod\n"],
    ["a file through a link", "cat /remote/link", "hello from the pod\n"],
    ["a link itself", "readlink /remote/link", "a.txt\n"],
    ["a large file", "md5sum < /remote/big", `${sum(big)}  -\n`],
    [
      "the middle of a large file",
      "tail -c +1000001 /remote/big | head -c 8 | od -An -tu4",
      "    1000000    1000004\n",
    ],
    [
      "a large file by dd, at the end",
      "dd if=/remote/big bs=1M skip=2 status=none | wc -c",
      `${3_000_000 - 2_097_152}\n`,
    ],
    ["a folder", "ls /remote", "a.txt\nbig\ndir\nlink\n"],
    ["a tree", "find /remote -type f | sort", "/remote/a.txt\n/remote/big\n/remote/dir/b.txt\n"],
    ["attributes", "stat -c '%s %a %F' /remote/a.txt /remote/dir", "19 644 regular file\n4096 755 directory\n"],
    ["existence", "test -r /remote/a.txt && ! test -e /remote/none && echo yes", "yes\n"],
    [
      "inside of a remote folder",
      "cd /remote/dir && pwd && ls && cat b.txt && cat ../a.txt",
      "/remote/dir\nb.txt\nbee\nhello from the pod\n",
    ],
    [
      "from a subshell of a remote folder",
      "cd /remote; (cd dir; cat b.txt); cat a.txt; bash -c 'cat a.txt'",
      "bee\nhello from the pod\nhello from the pod\n",
    ],
    ["by descriptor", "exec 5</remote/a.txt; read -u 5 x; echo $x", "hello from the pod\n"],
    ["a file copied", "t=$(mktemp -d); cp -r /remote/dir $t/; cat $t/dir/b.txt; rm -r $t", "bee\n"],
    ["the free space", "stat -f -c %s /remote", "4096\n"],
  ])("%s", async (_, script, expected) => {
    expect(await sh(script)).toEqual({ code: 0, output: expected })
  })

  test("long names of any writing can be opened", async () => {
    const folder = `/remote/${"ü".repeat(100)}`
    const files = new MemoryFiles({ files: { [`${folder}/${"語".repeat(80)}`]: "found\n" } })
    expect(await sh(`cat ${folder}/*`, files)).toEqual({ code: 0, output: "found\n" })
  })

  test("a copy of a descriptor that the engine cannot tell from others has the file's times and rights", async () => {
    const files = pod()
    const node = files.nodes.get("/remote/a.txt")!
    if (node.kind === "file") node.mtimeNs = 1_700_000_000_123_456_789n
    const script = `
import os
f = os.dup2(os.open("/remote/a.txt", 0), 9)
print(os.fstat(f).st_mtime_ns, oct(os.fstat(f).st_mode), os.fstat(f).st_size)
`
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("1700000000123456789 0o100644 19\n")
  })

  test("a descriptor opened again by its name", async () => {
    const script = `
import hashlib, os
for path in ["/remote/big", "/remote/a.txt"]:
    f = os.open(path, 0)
    print({hashlib.md5(open(name % f, "rb").read()).hexdigest() for name in ["/dev/fd/%d", "/proc/self/fd/%d"]})
`
    const { output } = await runIn({ files: pod() }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe(`{'${sum(big)}'}\n{'${sum(Buffer.from("hello from the pod\n"))}'}\n`)
  })

  test("what is not there", async () => {
    const { code, output } = await sh("cat /remote/none")
    expect(code).toBe(1)
    expect(output).toContain("No such file or directory")
  })

  test("local files stay local, and after leaving a remote folder relative paths do, too", async () => {
    const folder = mkdtempSync(join(tmpdir(), "podside-local-"))
    writeFileSync(join(folder, "mine"), "local\n")
    try {
      const { output } = await sh(`cd ${folder}; cat mine; cd /remote; cat a.txt; cd ${folder}; cat mine; pwd`)
      expect(output).toBe(`local\nhello from the pod\nlocal\n${folder}\n`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("a folder that only this machine has is not taken for one of the pod's", async () => {
    const folder = mkdtempSync(join(tmpdir(), "podside-local-"))
    mkdirSync(join(folder, "sub"))
    try {
      const { output } = await sh(`cd ${folder}; cd /remote; cd sub 2>/dev/null || echo none; pwd; cd dir; cat b.txt`)
      expect(output).toBe("none\n/remote\nbee\n")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("names relative to the root folder are the pod's, and others stay this machine's", async () => {
    const folder = mkdtempSync(join(tmpdir(), "podside-local-"))
    writeFileSync(join(folder, "mine"), "local\n")
    const script = `
import os
mine = os.open("${folder}", os.O_RDONLY); root = os.open("/", os.O_PATH | os.O_DIRECTORY)
print(os.read(os.open("remote/a.txt", 0, dir_fd=root), 5), os.stat("./remote/../remote/a.txt", dir_fd=root).st_size)
folder = os.open("remote", os.O_PATH | os.O_DIRECTORY, dir_fd=root)
print(os.stat("a.txt", dir_fd=folder).st_size, os.path.samestat(os.stat(".", dir_fd=root), os.stat("/")))
os.mkdir("remote/new", dir_fd=root); os.rename("remote/dir/b.txt", "remote/new/c", src_dir_fd=root, dst_dir_fd=root)
print(os.listdir("/remote/new"), os.read(os.open("mine", 0, dir_fd=mine), 5), os.read(os.open("${folder}/mine"[1:], 0, dir_fd=root), 5))
os.chdir("/"); print(os.path.exists("remote"))
`
    const { output } = await runIn({ files: pod() }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("b'hello' 19\n19 True\n['c'] b'local' b'local'\nFalse\n")
    expect(await sh("tar -C / -cf - remote/a.txt remote/dir | tar -tf -")).toEqual({
      code: 0,
      output: "remote/a.txt\nremote/dir/\nremote/dir/b.txt\n",
    })
    rmSync(folder, { recursive: true })
  })

  test("a file costs one question, and nothing stays open", async () => {
    const files = pod()
    await runIn({ files }, ["cat", "/remote/a.txt"])
    expect(files.asked).toEqual(["open /remote/a.txt"])
    expect(files.openFiles).toBe(0)
  })

  test("a file that grows is seen to grow", async () => {
    const files = new MemoryFiles({ files: { "/remote/log": "one\n" } })
    let grown = false
    const seen = new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (!files.asked.includes("open /remote/log")) return
        if (!grown) {
          const node = files.nodes.get("/remote/log")
          if (node?.kind === "file") {
            node.bytes = Buffer.from("one\ntwo\n")
            node.mtimeNs += 1_000_000_000n
          }
          grown = true
        }
        clearInterval(timer)
        resolve()
      }, 10)
    })
    const { output } = await runIn({ files }, ["timeout", "20", "bash", "-c", "tail -s 0.2 -f /remote/log | head -2"])
    await seen
    expect(output).toContain("one\ntwo\n")
  }, 120_000)

  test("an open file stays what it is when another takes its name", async () => {
    const files = new MemoryFiles({ files: { "/remote/log": "one\n", "/remote/next": "another one\n" } })
    const script = `
import os, time
f = os.open("/remote/log", 0)
before = os.fstat(f); os.rename("/remote/next", "/remote/log"); time.sleep(1.1); after = os.fstat(f)
print(before.st_ino == after.st_ino, after.st_size, os.pread(f, 100, 0), open("/remote/log").read().strip())
`
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("True 4 b'one\\n' another one\n")
  })
})

describe("places", () => {
  const rules =
    (placed: Record<string, FilePlace["place"]>, mapped: Record<string, string> = {}) =>
    (path: string) => ({
      place: placed[path] ?? ("local" as const),
      path: mapped[path] ?? path,
    })

  test("a path can be hidden", async () => {
    const files = new MemoryFiles({ place: rules({ "/etc/passwd": "not-found" }) })
    const { output } = await sh("cat /etc/passwd; test -s /etc/group && echo group", files)
    expect(output).toContain("No such file or directory")
    expect(output).toContain("group\n")
  })

  test("a path can be another one of this machine", async () => {
    const folder = mkdtempSync(join(tmpdir(), "podside-mapped-"))
    writeFileSync(join(folder, "file"), "mapped\n")
    const mapped = { "/nowhere/file": join(folder, "file"), "/nowhere/none": join(folder, "none") }
    const files = new MemoryFiles({ place: rules({}, mapped) })
    try {
      const script =
        "for name in file none; do for what in e r x; do test -$what /nowhere/$name && echo $name $what; done; done"
      expect((await sh(script, files)).output).toBe("file e\nfile r\n")
      const { output } = await sh("cat /nowhere/file; stat -c %s /nowhere/file; echo new > /nowhere/file", files)
      expect(output).toBe("mapped\n7\n")
      expect(readFileSync(join(folder, "file"), "utf8")).toBe("new\n")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("a remote path can be answered with this machine's file, for reading, writing and folders", async () => {
    const folder = mkdtempSync(join(tmpdir(), "podside-own-"))
    writeFileSync(join(folder, "file"), "my own\n")
    writeFileSync(join(folder, "other"), "other\n")
    const file = join(folder, "file")
    const files = new MemoryFiles({
      files: { [file]: "the pod's\n", [join(folder, "other")]: "the pod's other\n" },
      place: (path) => ({ place: path.startsWith(folder) ? "remote" : "local", path }),
      delay: async (what) => {
        if (what.startsWith("open") && !what.endsWith("other")) throw new OpenLocally()
      },
    })
    try {
      const script = `cat ${file}; echo new >> ${file}; cat ${file}; cat ${folder}/other; ls ${folder}; cat ${folder}/none`
      const { output } = await sh(script, files)
      expect(output).toStartWith("my own\nmy own\nnew\nthe pod's other\nfile\nother\n")
      expect(output).toContain("No such file")
      expect(files.text(file)).toBe("the pod's\n")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("a relative path can be hidden, too, and others are this machine's", async () => {
    const folder = mkdtempSync(join(tmpdir(), "podside-relative-"))
    for (const name of ["secret.env", "public.env"]) writeFileSync(join(folder, name), `${name}\n`)
    const files = Object.assign(pod(), { hides: (path: string) => path.includes("secret") })
    try {
      const { output } = await sh(
        `cd ${folder}; cat public.env; cat secret.env; test -e secret.env || echo gone`,
        files,
      )
      expect(output).toStartWith("public.env\n")
      expect(output).toContain("No such file")
      expect(output).toEndWith("gone\n")
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("a refusal is the program's errno", async () => {
    const files = new MemoryFiles({
      files: { "/remote/secret": "x" },
      delay: async (what) => {
        if (what === "open /remote/secret") throw new ErrnoError(13, "no")
      },
    })
    expect((await sh("cat /remote/secret", files)).output).toContain("Permission denied")
  })

  test("a fault of ours is an input/output error, not the end", async () => {
    const files = new MemoryFiles({
      files: { "/remote/odd": "x" },
      delay: async (what) => {
        if (what === "open /remote/odd") throw new TypeError("bug")
      },
    })
    const { output } = await sh("cat /remote/odd; echo still here", files)
    expect(output).toContain("Input/output error")
    expect(output).toContain("still here")
  })
})

describe("writing", () => {
  test.each([
    ["by redirection", "echo one > /remote/new", "one\n"],
    ["by appending", "echo one > /remote/new; echo two >> /remote/new", "one\ntwo\n"],
    ["in a loop on one descriptor", "for i in 1 2 3; do echo $i; done > /remote/new", "1\n2\n3\n"],
    ["on two descriptors of one file", "{ echo out; echo err >&2; } > /remote/new 2>&1", "out\nerr\n"],
    ["by a program that opens it", "cp /remote/a.txt /remote/new", "hello from the pod\n"],
    [
      "by dd into the middle",
      "echo abcdef > /remote/new; printf XY | dd of=/remote/new bs=1 seek=2 conv=notrunc status=none",
      "abXYef\n",
    ],
    [
      "by sort onto its own input, which it puts on its standard output",
      "printf '1\\n3\\n2\\n' > /remote/new; sort -r /remote/new -o /remote/new",
      "3\n2\n1\n",
    ],
    ["by truncation", "echo abcdef > /remote/new; truncate -s 3 /remote/new", "abc"],
    ["by tee", "echo one | tee /remote/new > /dev/null; echo two | tee -a /remote/new > /dev/null", "one\ntwo\n"],
    ["by sed in place", "echo one > /remote/new; sed -i s/one/two/ /remote/new", "two\n"],
  ])("%s", async (_, script, expected) => {
    const files = pod()
    const { code, output } = await sh(script, files)
    expect({ code, output, text: files.text("/remote/new"), open: files.openFiles }).toEqual({
      code: 0,
      output: "",
      text: expected,
      open: 0,
    })
  })

  test("what was written is there for the next reader", async () => {
    expect((await sh("echo one > /remote/new; cat /remote/new; stat -c %s /remote/new")).output).toBe("one\n4\n")
  })

  test("a copy goes to the standard stream that was closed for it", async () => {
    const script = `
import fcntl, os
source = os.open("/remote/a.txt", 0); target = os.open("/remote/new", os.O_WRONLY | os.O_CREAT)
os.close(0); numbers = [fcntl.fcntl(source, fcntl.F_DUPFD, 0)]
os.close(1); numbers.append(os.dup(target))
os.write(1, os.read(0, 5)); numbers.append(os.dup(target) > 2)
os.write(2, repr(numbers).encode())
`
    const files = pod()
    expect((await runIn({ files }, ["/usr/bin/python3", "-c", script])).output).toBe("[0, 1, True]")
    expect(files.text("/remote/new")).toBe("hello")
    const { output } = await sh("tar -C /remote -czf /remote/t.tgz a.txt; tar -tzf /remote/t.tgz", files)
    expect(output).toBe("a.txt\n")
  })

  test("sendfile of a file too large for memory makes programs read it", async () => {
    const script = `
import os, socket
a, b = socket.socketpair()
def send(path): return os.sendfile(a.fileno(), os.open(path, 0), 0, 10)
print(send("/remote/big"))
try: send("/remote/huge")
except OSError as e: print(e.errno)
`
    const files = pod()
    files.put("/remote/huge", Buffer.alloc(256 * 1024 * 1024 + 1))
    expect((await runIn({ files }, ["/usr/bin/python3", "-c", script])).output).toBe("10\n22\n")
  })

  test("splice from a pipe, in all its forms", async () => {
    const script = `
import errno, os, threading, time
def code(*args, **more):
    try: return os.splice(*args, **more)
    except OSError as e: return errno.errorcode[e.errno]
out = os.open("/remote/new", os.O_RDWR | os.O_CREAT); r, w = os.pipe()
os.write(w, b"hello "); print(code(r, out, 100), code(r, out, 100, flags=os.SPLICE_F_NONBLOCK), end=" ")
threading.Timer(0.2, lambda: os.write(w, b"later")).start(); print(code(r, out, 100), end=" ")
os.write(w, b"HE"); print(code(r, out, 100, offset_dst=0), os.lseek(out, 0, os.SEEK_CUR), end=" ")
os.set_blocking(r, False); print(code(r, out, 9), end=" "); os.close(w); print(code(r, out, 9), end=" ")
print(os.pread(out, 20, 0), code(out, os.pipe()[1], 9), code(os.pipe()[0], os.open("/remote/new", os.O_WRONLY | os.O_APPEND), 9))
`
    const files = pod()
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("6 EAGAIN 5 2 11 EAGAIN 0 b'HEllo later' EINVAL EINVAL\n")
    expect(files.text("/remote/new")).toBe("HEllo later")
  })

  test("much data by redirection", async () => {
    const files = pod()
    await sh("cat /remote/big /remote/big > /remote/new", files)
    const node = files.nodes.get("/remote/new")
    expect(node?.kind === "file" && sum(node.bytes)).toBe(sum(Buffer.concat([big, big])))
  })

  test("folders and names", async () => {
    const files = pod()
    const script = `mkdir -p /remote/x/y && mv /remote/a.txt /remote/x/y/ && touch -d @1000 /remote/x/y/a.txt &&
      chmod 600 /remote/x/y/a.txt && stat -c '%a %Y' /remote/x/y/a.txt && rm -r /remote/dir && ls /remote /remote/x/y`
    expect((await sh(script, files)).output).toBe("600 1000\n/remote:\nbig\nlink\nx\n\n/remote/x/y:\na.txt\n")
  })

  test("attributes of folders, and by descriptors that only read", async () => {
    const script = `
import os
d = os.open("/remote/dir", os.O_RDONLY); os.fchmod(d, 0o700); os.utime(d, (1, 5)); os.fchown(d, -1, 0)
f = os.open("/remote/a.txt", os.O_RDONLY); os.fchmod(f, 0o600); os.utime(f, (1, 6)); os.fchown(f, -1, 0)
os.utime("/remote", (1, 7)); os.chmod("/remote", 0o711)
print([(oct(s.st_mode & 0o777), int(s.st_mtime)) for s in map(os.stat, ["/remote/dir", "/remote/a.txt", "/remote"])])
`
    const files = pod()
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("[('0o700', 5), ('0o600', 6), ('0o711', 7)]\n")
    expect(files.openFiles).toBe(0)
  })

  test("new files have the rights asked for, others keep theirs", async () => {
    const script = `
import os
def rights(path, flags, mode):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | flags, mode)); return oct(os.stat(path).st_mode & 0o777)
print(rights("/remote/key", os.O_EXCL, 0o600), rights("/remote/tool", os.O_TRUNC, 0o755), rights("/remote/a.txt", 0, 0o600))
os.umask(0o077); print(rights("/remote/plain", 0, 0o666), rights("/remote/plain", 0, 0o777))
`
    const files = pod()
    expect((await runIn({ files }, ["/usr/bin/python3", "-c", script])).output).toBe("0o600 0o755 0o644\n0o600 0o600\n")
    files.asked.length = 0
    await sh("echo > /remote/usual", files)
    expect(files.asked.filter((what) => what.endsWith("usual"))).toEqual(["open-for-writing /remote/usual"])
  })

  test("a session that only reads changes no attributes either", async () => {
    const files = new MemoryFiles({
      files: { "/remote/a.txt": "a\n", "/remote/big": big },
      place: (path, intent) => ({ place: path.startsWith("/remote") && intent === "read" ? "remote" : "local", path }),
    })
    const script = `
import os
def refused(change, *args):
    try: change(*args)
    except OSError as e: return e.errno
for path in ["/remote/a.txt", "/remote/big", "/remote"]:
    fd = os.open(path, os.O_RDONLY)
    print(refused(os.fchmod, fd, 0), refused(os.fchown, fd, 1, 1), refused(os.utime, fd, (1, 1)))
`
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("30 30 30\n30 30 30\n30 30 30\n")
    expect([...files.nodes.values()].map(({ mtimeNs }) => mtimeNs > 10n ** 18n)).not.toContain(false)
  })

  test("no size is negative", async () => {
    const script = `import ctypes; c = ctypes.CDLL(None, use_errno=True)
print(c.truncate(b"/remote/a.txt", ctypes.c_long(-1)), ctypes.get_errno())`
    expect((await runIn({ files: pod() }, ["/usr/bin/python3", "-c", script])).output).toBe("-1 22\n")
  })

  test("a move between the sides is a copy", async () => {
    const files = pod()
    const folder = mkdtempSync(join(tmpdir(), "podside-move-"))
    try {
      const { code } = await sh(`mv /remote/a.txt ${folder}/ && mv ${folder}/a.txt /remote/back`, files)
      expect(code).toBe(0)
      expect(files.text("/remote/back")).toBe("hello from the pod\n")
      expect(files.text("/remote/a.txt")).toBeUndefined()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test("a child stays in the folder it was born in when its parent goes elsewhere", async () => {
    const files = pod()
    const script = `
import os
os.chdir("/remote/dir")
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(r, 1); open("mine", "w").write("child"); print(open("b.txt").read(), end="", flush=True); os._exit(0)
os.chdir("/remote"); os.write(w, b"x"); os.waitpid(pid, 0)
pid = os.fork()
if pid == 0:
    os.read(r, 1); print(os.getcwd(), flush=True); os._exit(0)
os.chdir("/tmp"); os.write(w, b"x"); os.waitpid(pid, 0)
`
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("bee\n/remote\n")
    expect(files.text("/remote/dir/mine")).toBe("child")
  })

  test("links cannot be made there", async () => {
    expect((await sh("ln -s a.txt /remote/soft")).output).toContain("Operation not permitted")
  })
})

test.if(installed("python3"))(
  "what Python changes in a shared mapping arrives: on flush, by a later write, and at the end",
  async () => {
    const files = pod()
    const script = `
import mmap, os
f = open("/remote/a.txt", "r+b"); m = mmap.mmap(f.fileno(), 0)
m[0:5] = b"HELLO"; m.flush(); print(open("/remote/a.txt").read(5))
f.seek(6); print(f.read(4)); f.seek(6); f.write(b"FROM"); f.flush(); print(m[6:10])
m[11:14] = b"THE"; m.close(); f.close()
`
    const { code, output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect({ code, output }).toEqual({ code: 0, output: "HELLO\nb'from'\nb'FROM'\n" })
    expect(files.text("/remote/a.txt")).toBe("HELLO FROM THE pod\n")
    expect(files.openFiles).toBe(0)
  },
)

test.if(installed("python3"))("Python reads, writes, maps, seeks and lists", async () => {
  const files = pod()
  const script = `
import os, mmap, shutil
f = open("/remote/w", "w+"); f.write("x" * 100000); f.flush(); f.seek(5); print(len(f.read()), os.fstat(f.fileno()).st_size); f.close()
print(sorted(os.listdir("/remote")), os.stat("/remote/w").st_size)
m = mmap.mmap(os.open("/remote/big", os.O_RDONLY), 0, prot=mmap.PROT_READ); print(int.from_bytes(m[2000000:2000004], "little"))
d = os.open("/remote/dir", os.O_RDONLY | os.O_DIRECTORY); g = os.open("b.txt", os.O_RDONLY, dir_fd=d); print(os.read(g, 10))
os.fchdir(d); print(os.getcwd(), open("b.txt").read().strip())
print(os.pread(os.open("/remote/big", os.O_RDONLY), 4, 400) == (400).to_bytes(4, "little"))
f = os.open("/remote/big", os.O_RDONLY); print(os.lseek(f, 0, os.SEEK_END), os.lseek(f, 8, os.SEEK_DATA))
h = os.dup(f); os.lseek(f, 12, 0); print(int.from_bytes(os.read(h, 4), "little"))
try: os.mkdir("/remote/dir")
except FileExistsError as e: print("exists")
`
  const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
  expect(output).toBe(
    `99995 100000\n['a.txt', 'big', 'dir', 'link', 'w'] 100000\n2000000\nb'bee\\n'\n/remote/dir bee\nTrue\n3000000 8\n12\nexists\n`,
  )
  expect(files.openFiles).toBe(0)
})

test.if(installed("python3"))("a rename that would keep or swap what is there never takes it away", async () => {
  const files = pod()
  const script = `
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def rename(flags, to):
    failed = libc.renameat2(-100, b"/remote/a.txt", -100, to, flags)
    return errno.errorcode[ctypes.get_errno()] if failed else "renamed"
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
there = b"/remote/dir/b.txt"
print([rename(flags, there) for flags in (NOREPLACE, EXCHANGE, WHITEOUT, NOREPLACE | EXCHANGE)])
print(open("/remote/a.txt").read().strip(), open(there).read().strip())
print(rename(NOREPLACE, b"/remote/new"), open("/remote/new").read().strip())
`
  const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
  expect(output).toBe("['EEXIST', 'EINVAL', 'EINVAL', 'EINVAL']\nhello from the pod bee\nrenamed hello from the pod\n")
})

test.if(installed("python3"))(
  "a rename that would keep what is there is refused where nobody can tell what is",
  async () => {
    const files = new MemoryFiles({
      files: { "/remote/a.txt": "a\n", "/remote/secret": "s\n" },
      delay: async (what) => {
        if (what === "stat /remote/secret") throw new ErrnoError(errno.EACCES, "no")
      },
    })
    const script = `
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.renameat2(-100, b"/remote/a.txt", -100, b"/remote/secret", 1), ctypes.get_errno())
`
    const { output } = await runIn({ files }, ["/usr/bin/python3", "-c", script])
    expect(output).toBe("-1 13\n")
    expect([files.text("/remote/a.txt"), files.text("/remote/secret")]).toEqual(["a\n", "s\n"])
  },
)

/** Opens, reads and closes a file many times; says where it was given something else. */
const openingOften = `
import os
for _ in range(2000):
    f = os.open("/remote/a.txt", 0); assert f > 2, f; assert os.read(f, 100) == b"hello\\n"; os.close(f)
print("all")
`

test.each([
  ["signals to the engine", `kill -WINCH ${process.pid}`],
  [
    "an engine that is stopped and goes on",
    `kill -STOP ${process.pid}; sleep 0.002; kill -CONT ${process.pid}; sleep 0.003`,
  ],
])("%s while it hands over a descriptor: the program gets what it opened", async (_, disturbance) => {
  const ignore = () => {}
  process.on("SIGWINCH", ignore)
  const folder = mkdtempSync(join(tmpdir(), "podside-storm-"))
  const storm = Bun.spawn(["sh", "-c", `while [ -d ${folder} ]; do ${disturbance}; done`])
  try {
    const files = new MemoryFiles({ files: { "/remote/a.txt": "hello\n" } })
    expect((await runIn({ files }, ["/usr/bin/python3", "-c", openingOften])).output).toBe("all\n")
  } finally {
    // Killed it might leave this process stopped.
    rmSync(folder, { recursive: true })
    await storm.exited
    process.off("SIGWINCH", ignore)
  }
})
