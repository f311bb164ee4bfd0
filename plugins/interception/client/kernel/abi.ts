/*
 * What differs between the architectures, as data: numbers of the calls the engine watches and the layout of struct stat.
 * Sources: asm/unistd_64.h and asm/stat.h of x86-64; asm-generic/unistd.h and asm-generic/stat.h, which are those of arm64.
 */

/** Numbers by call: [x86-64, arm64]; -1 where the architecture does not have the call. */
const numbers = {
  read: [0, 63],
  write: [1, 64],
  open: [2, -1],
  stat: [4, -1],
  fstat: [5, 80],
  lstat: [6, -1],
  lseek: [8, 62],
  mmap: [9, 222],
  pread64: [17, 67],
  pwrite64: [18, 68],
  readv: [19, 65],
  writev: [20, 66],
  access: [21, -1],
  msync: [26, 227],
  dup: [32, 23],
  dup2: [33, -1],
  sendfile: [40, 71],
  socket: [41, 198],
  connect: [42, 203],
  accept: [43, 202],
  sendto: [44, 206],
  recvfrom: [45, 207],
  sendmsg: [46, 211],
  recvmsg: [47, 212],
  bind: [49, 200],
  listen: [50, 201],
  getsockname: [51, 204],
  getpeername: [52, 205],
  setsockopt: [54, 208],
  getsockopt: [55, 209],
  execve: [59, 221],
  uname: [63, 160],
  fcntl: [72, 25],
  fsync: [74, 82],
  fdatasync: [75, 83],
  truncate: [76, 45],
  ftruncate: [77, 46],
  getcwd: [79, 17],
  chdir: [80, 49],
  fchdir: [81, 50],
  rename: [82, -1],
  mkdir: [83, -1],
  rmdir: [84, -1],
  creat: [85, -1],
  link: [86, -1],
  unlink: [87, -1],
  symlink: [88, -1],
  readlink: [89, -1],
  chmod: [90, -1],
  fchmod: [91, 52],
  chown: [92, -1],
  fchown: [93, 55],
  lchown: [94, -1],
  utime: [132, -1],
  mknod: [133, -1],
  statfs: [137, 43],
  fstatfs: [138, 44],
  setxattr: [188, 5],
  lsetxattr: [189, 6],
  getxattr: [191, 8],
  lgetxattr: [192, 9],
  listxattr: [194, 11],
  llistxattr: [195, 12],
  removexattr: [197, 14],
  lremovexattr: [198, 15],
  getdents64: [217, 61],
  utimes: [235, -1],
  inotify_add_watch: [254, 27],
  openat: [257, 56],
  mkdirat: [258, 34],
  mknodat: [259, 33],
  fchownat: [260, 54],
  futimesat: [261, -1],
  newfstatat: [262, 79],
  unlinkat: [263, 35],
  renameat: [264, 38],
  linkat: [265, 37],
  symlinkat: [266, 36],
  readlinkat: [267, 78],
  fchmodat: [268, 53],
  faccessat: [269, 48],
  splice: [275, 76],
  utimensat: [280, 88],
  fallocate: [285, 47],
  accept4: [288, 242],
  dup3: [292, 24],
  preadv: [295, 69],
  pwritev: [296, 70],
  recvmmsg: [299, 243],
  sendmmsg: [307, 269],
  renameat2: [316, 276],
  execveat: [322, 281],
  copy_file_range: [326, 285],
  preadv2: [327, 286],
  pwritev2: [328, 287],
  statx: [332, 291],
  io_uring_setup: [425, 425],
  openat2: [437, 437],
  faccessat2: [439, 439],
  fchmodat2: [452, 452],
} as const

export type CallName = keyof typeof numbers

export interface StatLayout {
  bytes: number
  /** Offset and width in bytes of each field; a time is two 8-byte words, seconds and nanoseconds. */
  fields: Readonly<Record<StatField, readonly [offset: number, width: 4 | 8]>>
  times: { atime: number; mtime: number; ctime: number }
}

type StatField = "dev" | "ino" | "mode" | "nlink" | "uid" | "gid" | "rdev" | "size" | "blksize" | "blocks"

export interface Architecture {
  /** AUDIT_ARCH_* of linux/audit.h, as a seccomp filter sees it. */
  audit: number
  /** Calls with this bit belong to a second table (x32) the engine does not know. */
  foreignBit?: number
  column: 0 | 1
  /** e_machine of linux/elf-em.h. */
  elfMachine: number
  stat: StatLayout
}

const times = { atime: 72, mtime: 88, ctime: 104 }

const x64: Architecture = {
  audit: 0xc000003e,
  foreignBit: 0x40000000,
  column: 0,
  elfMachine: 62,
  stat: {
    bytes: 144,
    fields: {
      dev: [0, 8],
      ino: [8, 8],
      nlink: [16, 8],
      mode: [24, 4],
      uid: [28, 4],
      gid: [32, 4],
      rdev: [40, 8],
      size: [48, 8],
      blksize: [56, 8],
      blocks: [64, 8],
    },
    times,
  },
}

const arm64: Architecture = {
  audit: 0xc00000b7,
  column: 1,
  elfMachine: 183,
  stat: {
    bytes: 128,
    fields: {
      dev: [0, 8],
      ino: [8, 8],
      mode: [16, 4],
      nlink: [20, 4],
      uid: [24, 4],
      gid: [28, 4],
      rdev: [32, 8],
      size: [48, 8],
      blksize: [56, 4],
      blocks: [64, 8],
    },
    times,
  },
}

/** The architecture by Node's name for it, undefined when the engine does not know it. */
export function architectureOf(name: string): Architecture | undefined {
  return { x64, arm64 }[name]
}

/** Number of a call, undefined where the architecture has none. */
export function callNumber(architecture: Architecture, name: CallName): number | undefined {
  const number = numbers[name][architecture.column]
  return number < 0 ? undefined : number
}

/** Call by number, for one architecture. */
export function callNames(architecture: Architecture): Map<number, CallName> {
  const names = Object.keys(numbers) as CallName[]
  return new Map(
    names.map((name) => [numbers[name][architecture.column] as number, name] as const).filter(([n]) => n >= 0),
  )
}
