import { readFileSync } from "node:fs"
import { check } from "./errno.ts"
import { addressOf, syscall } from "./syscall.ts"

/** More than the kernel gives a program at its start (a quarter of the stack, 2 MiB by default, is the limit). */
const maxEnvironmentBytes = 8 * 1024 * 1024

/**
 * The environment area of a process, out of its memory: NUL-terminated entries. For this CAP_SYS_PTRACE is enough, while
 * /proc/PID/environ also wants the right to read files of the process's user. @throws LinuxError
 */
export function readEnvironmentMemory(pid: number): Uint8Array {
  // Fields 50 and 51 of /proc/PID/stat; field 3 follows the name in parentheses.
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  const [start, end] = [BigInt(fields[47] ?? 0), BigInt(fields[48] ?? 0)]
  const length = Math.min(Number(end - start), maxEnvironmentBytes)
  return length > 0 ? readMemory(pid, start, length) : new Uint8Array()
}

/** struct iovec: base u64, length u64. */
function readMemory(pid: number, address: bigint, length: number): Uint8Array {
  const content = Buffer.alloc(length)
  const local = BigUint64Array.from([addressOf(content), BigInt(length)])
  const remote = BigUint64Array.from([address, BigInt(length)])
  const count = check(syscall("process_vm_readv", pid, local, 1, remote, 1, 0), "process_vm_readv")
  return content.subarray(0, count)
}
