import { addressOf, cString, syscall } from "../../core/linux/syscall.ts"

/*
 * bun without-nf-tables.ts PROGRAM ARGUMENTS: runs a program (by its path) for which this machine's kernel has no
 * nf_tables: a seccomp filter answers as such a kernel does when somebody wants to talk to it. Children inherit that.
 */

const PR_SET_SECCOMP = 22
const SECCOMP_MODE_FILTER = 2
const AF_NETLINK = 16
const NETLINK_NETFILTER = 12
const EPROTONOSUPPORT = 93
const allow = 0x7fff_0000
const refuse = 0x0005_0000 | EPROTONOSUPPORT
/** Of `struct seccomp_data`: the call's number, and the low halves of its arguments. */
const at = { call: 0, argument: (index: number) => 16 + 8 * index }
const socketCall = process.arch === "arm64" ? 198 : 41
/** Instructions of the classic packet filter: load a word, go on if it is equal or skip, give an answer. */
const load = (offset: number) => [0x20, 0, 0, offset] as const
const equals = (value: number, elseSkip: number) => [0x15, 0, elseSkip, value] as const
const answer = (value: number) => [0x06, 0, 0, value] as const

const instructions = [
  load(at.call),
  equals(socketCall, 5),
  load(at.argument(0)),
  equals(AF_NETLINK, 3),
  load(at.argument(2)),
  equals(NETLINK_NETFILTER, 1),
  answer(refuse),
  answer(allow),
]
const filter = Buffer.alloc(8 * instructions.length)
for (const [index, [code, then, otherwise, value]] of instructions.entries()) {
  filter.writeUInt16LE(code, 8 * index)
  filter.writeUInt8(then, 8 * index + 2)
  filter.writeUInt8(otherwise, 8 * index + 3)
  filter.writeUInt32LE(value, 8 * index + 4)
}
// struct sock_fprog: how many, u16; where, u64.
const program = Buffer.alloc(16)
program.writeUInt16LE(instructions.length, 0)
program.writeBigUInt64LE(addressOf(filter), 8)

const strings = (texts: readonly string[]) => {
  const bytes = texts.map(cString)
  return { bytes, pointers: new BigUint64Array([...bytes.map(addressOf), 0n]) }
}
const words = strings(process.argv.slice(2))
const environment = strings(Object.entries(process.env).map(([name, value]) => `${name}=${value}`))
// Bun opens its files so that execve closes them; standard input, output and error stay.
if (syscall("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) !== 0) throw new Error("the filter is refused")
const code = syscall("execve", words.bytes[0]!, words.pointers, environment.pointers)
throw new Error(`${process.argv[2]} cannot be started: errno ${-code}`)
