/** Linux errno numbers by name, the same on x86-64 and arm64. Source: asm-generic/errno-base.h and errno.h. */
export const errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  ENOEXEC: 8,
  EBADF: 9,
  ECHILD: 10,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EILSEQ: 84,
  ENOTSOCK: 88,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  ESOCKTNOSUPPORT: 94,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ENETRESET: 102,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTDOWN: 112,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
} as const

const names = new Map<number, string>(Object.entries(errno).map(([name, number]) => [number, name]))

/** `errnoName(2)` and `errnoName(-2)` are "ENOENT"; a number without a name gives "errno 200". */
export function errnoName(number: number): string {
  const positive = Math.abs(number)
  return names.get(positive) ?? `errno ${positive}`
}

/** A system call that failed. `errno` is positive. */
export class LinuxError extends Error {
  override readonly name = "LinuxError"
  readonly errno: number
  /** As in Node: "ENOENT". */
  readonly code: string

  /** `what` says what was tried, e.g. `open /etc/hosts`. */
  constructor(number: number, what: string) {
    const name = errnoName(number)
    super(`${what}: ${name}`)
    this.errno = Math.abs(number)
    this.code = name
  }
}

/** The result of a system call, unless it is a negative errno. @throws LinuxError */
export function check(result: number, what: string): number {
  if (result < 0) throw new LinuxError(result, what)
  return result
}

/** Whether `thrown` is a failed system call with one of these numbers (any number, when none is given). */
export function isLinuxError(thrown: unknown, ...numbers: number[]): thrown is LinuxError {
  return thrown instanceof LinuxError && (numbers.length === 0 || numbers.includes(thrown.errno))
}
