import { dlopen, type Pointer, ptr, read, FFIType as T } from "bun:ffi"
import { AppError } from "../errors.ts"

/** What a system call takes: numbers, and memory as typed arrays (null and empty arrays become a null pointer). */
export type SyscallArgument = number | bigint | NodeJS.TypedArray | null

/** Numbers of the calls podside makes: [x86-64, arm64]. Source: asm/unistd_64.h, asm-generic/unistd.h. */
export const callNumbers = {
  read: [0, 63],
  write: [1, 64],
  close: [3, 57],
  lseek: [8, 62],
  rt_sigaction: [13, 134],
  rt_sigprocmask: [14, 135],
  ioctl: [16, 29],
  pread64: [17, 67],
  pwrite64: [18, 68],
  socket: [41, 198],
  connect: [42, 203],
  sendto: [44, 206],
  recvfrom: [45, 207],
  sendmsg: [46, 211],
  recvmsg: [47, 212],
  shutdown: [48, 210],
  bind: [49, 200],
  listen: [50, 201],
  getsockname: [51, 204],
  getpeername: [52, 205],
  socketpair: [53, 199],
  setsockopt: [54, 208],
  getsockopt: [55, 209],
  execve: [59, 221],
  kill: [62, 129],
  fcntl: [72, 25],
  ftruncate: [77, 46],
  fchmod: [91, 52],
  fchown: [93, 55],
  fstatfs: [138, 44],
  prctl: [157, 167],
  getdents64: [217, 61],
  epoll_ctl: [233, 21],
  waitid: [247, 95],
  inotify_add_watch: [254, 27],
  inotify_rm_watch: [255, 28],
  openat: [257, 56],
  mkdirat: [258, 34],
  unlinkat: [263, 35],
  readlinkat: [267, 78],
  ppoll: [271, 73],
  unshare: [272, 97],
  splice: [275, 76],
  utimensat: [280, 88],
  epoll_pwait: [281, 22],
  fallocate: [285, 47],
  accept4: [288, 242],
  epoll_create1: [291, 20],
  dup3: [292, 24],
  inotify_init1: [294, 26],
  prlimit64: [302, 261],
  setns: [308, 268],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  renameat2: [316, 276],
  seccomp: [317, 277],
  memfd_create: [319, 279],
  statx: [332, 291],
  pidfd_open: [434, 434],
  openat2: [437, 437],
  pidfd_getfd: [438, 438],
  faccessat2: [439, 439],
} as const

export type SyscallName = keyof typeof callNumbers

const column = { x64: 0, arm64: 1 }[process.arch as string] as 0 | 1 | undefined
const libc = loadLibc()
/** Constant for a thread; this module is evaluated once per thread (main thread, each Worker). */
const errnoAddress = libc.__errno_location() as Pointer

/**
 * Makes one system call on the calling thread: its result, or the negative errno (-2 = ENOENT).
 * A result outside the safe integers comes rounded; no call listed here has one.
 */
export function syscall(
  name: SyscallName,
  a: SyscallArgument = 0,
  b: SyscallArgument = 0,
  c: SyscallArgument = 0,
  d: SyscallArgument = 0,
  e: SyscallArgument = 0,
  f: SyscallArgument = 0,
): number {
  const number = callNumbers[name][column as 0 | 1]
  const result = libc.syscall(number, word(a), word(b), word(c), word(d), word(e), word(f))
  // Read at once and without another call, so that nothing of the runtime can change errno in between.
  return result === -1 ? -read.i32(errnoAddress, 0) : Number(result)
}

/** NUL-terminated bytes of a path or name. The caller has made sure that `text` holds no NUL. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`)
}

/** The address of memory as a 64-bit number, for structures that hold pointers. Keep `memory` referenced until the call is over. */
export function addressOf(memory: NodeJS.TypedArray): bigint {
  return BigInt(ptr(memory))
}

function word(argument: SyscallArgument): number | bigint {
  if (typeof argument !== "object") return argument
  return argument === null || argument.byteLength === 0 ? 0 : ptr(argument)
}

function loadLibc() {
  if (process.platform !== "linux" || column === undefined) {
    throw new AppError(
      "unsupported-platform",
      `System calls are not known for ${process.platform} on ${process.arch}`,
      {
        next: "Run this role on Linux, x86-64 or arm64.",
      },
    )
  }
  return dlopen("libc.so.6", {
    syscall: { args: [T.i64, T.i64, T.i64, T.i64, T.i64, T.i64, T.i64], returns: T.i64_fast },
    __errno_location: { args: [], returns: T.ptr },
  }).symbols
}
