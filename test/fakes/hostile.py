"""Makes random system calls with hostile arguments from several threads: hostile.py SEED SECONDS NUMBER,NUMBER,..."""
import ctypes, os, random, resource, struct, sys, threading, time

seed, seconds, numbers = int(sys.argv[1]), float(sys.argv[2]), [int(n) for n in sys.argv[3].split(",")]
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

# Calls that are left to the kernel must not reach what belongs to others: never with root's rights.
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)

# Files of this machine stay small.
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

# Everything the calls may be pointed at; addresses only of the world or the loopback, so that nothing leaves this machine.
pieces = [
    b"/remote/a.txt", b"/remote/big", b"/remote/dir", b"/remote", b"/remote/new", b"/remote/" + b"x" * 5000,
    b"relative", b"", b".", b"/remote/\xff\xfe", b"/nowhere/at/all",
    struct.pack("=HH4s8x", 2, 0x5000, bytes([10, 99, 1, 1])), struct.pack("=HH4s8x", 2, 0, bytes([127, 0, 0, 1])),
    struct.pack("=HHI16sI", 10, 0x5000, 0, bytes.fromhex("fd990000000000000000000000000001"), 0),
    struct.pack("=H108s", 1, b"/remote/sock"), struct.pack("=H", 2), b"\xff" * 200, b"\0" * 200,
]
keep = [ctypes.create_string_buffer(p, max(len(p) + 1, 256)) for p in pieces]
room = ctypes.create_string_buffer(65536)
pointers = [ctypes.addressof(k) for k in keep]
# struct iovec and struct msghdr made of good and bad pointers.
for base, size in [(ctypes.addressof(room), 1000), (0, 5), (0x1000, 1 << 40), (ctypes.addressof(room), 1 << 62)]:
    v = ctypes.create_string_buffer(struct.pack("=QQ", base, size) * 16)
    m = ctypes.create_string_buffer(struct.pack("=QIIQQQQII", random.choice(pointers), 16, 0, ctypes.addressof(v), 2, base, size % 4096, 0, 0) * 8)
    keep += [v, m]
    pointers += [ctypes.addressof(v), ctypes.addressof(m)]
bad = [0, 1, 0x1000, 0x7FFFFFFFF000, -1 & (2**64 - 1), 0xFFFF800000000000]


def fuzz(number):
    r = random.Random(seed * 100 + number)
    fds = [-1, -100, 0, 3, 4, 5, 6, 7, 8, 500, 800, 1000, 1023, 9000, 13000, 16000, 2**31 - 1]
    end = time.time() + seconds
    while time.time() < end:
        def argument():
            kind = r.random()
            if kind < 0.35: return r.choice(pointers)
            if kind < 0.45: return ctypes.addressof(room) + r.randrange(60000)
            if kind < 0.6: return r.choice(bad)
            if kind < 0.8: return r.choice(fds) & (2**64 - 1)
            return r.choice([0, 1, 2, 4, 16, 28, 64, 0x241, 0x42, 0x1000, 0x800, 4096, 65536, 1 << 31, 1 << 40])
        result = libc.syscall(ctypes.c_long(r.choice(numbers)), *[ctypes.c_ulong(argument()) for _ in range(6)])
        if 3 <= result < 20000: fds.append(result)
        if len(fds) > 60: fds[17:] = fds[-20:]


threads = [threading.Thread(target=fuzz, args=(n,), daemon=True) for n in range(4)]
[t.start() for t in threads]
time.sleep(seconds + 1)
os._exit(0)
