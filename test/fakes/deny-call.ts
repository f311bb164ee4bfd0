import { constants } from "node:os"
import { addressOf, cString, syscall } from "../../core/linux/syscall.ts"

/*
 * Becomes a program for which the kernel refuses a system call with EPERM, as the seccomp profile of a container runtime
 * does: bun deny-call.ts NUMBER PROGRAM [ARGUMENT…]
 */

const PR_SET_NO_NEW_PRIVS = 38
const SECCOMP_SET_MODE_FILTER = 1
const LOAD = 0x20
const JUMP_EQUAL = 0x15
const RETURN = 0x06
const RET_ALLOW = 0x7fff0000
const RET_ERRNO = 0x00050000

const [number = "", program = "", ...args] = process.argv.slice(2)
const filter = Buffer.alloc(4 * 8)
const instructions: [code: number, ifTrue: number, ifFalse: number, k: number][] = [
  [LOAD, 0, 0, 0],
  [JUMP_EQUAL, 0, 1, Number(number)],
  [RETURN, 0, 0, RET_ERRNO | constants.errno.EPERM],
  [RETURN, 0, 0, RET_ALLOW],
]
instructions.forEach(([code, ifTrue, ifFalse, k], index) => {
  filter.writeUInt16LE(code, index * 8)
  filter.writeUInt8(ifTrue, index * 8 + 2)
  filter.writeUInt8(ifFalse, index * 8 + 3)
  filter.writeUInt32LE(k, index * 8 + 4)
})
const sock = Buffer.alloc(16)
sock.writeUInt16LE(instructions.length, 0)
sock.writeBigUInt64LE(addressOf(filter), 8)
const path = cString(program)
const words = [program, ...args].map(cString)
const variables = Object.entries(process.env).map(([name, value]) => cString(`${name}=${value}`))
const argv = pointers(words)
const envp = pointers(variables)
syscall("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
const refused = syscall("seccomp", SECCOMP_SET_MODE_FILTER, 0, sock)
const result = refused < 0 ? refused : syscall("execve", path, argv, envp)
console.error(`cannot become ${program}: errno ${-result}`)
process.exit(127)

function pointers(strings: Buffer[]): Buffer {
  const bytes = Buffer.from(new ArrayBuffer((strings.length + 1) * 8))
  strings.forEach((text, index) => {
    bytes.writeBigUInt64LE(addressOf(text), index * 8)
  })
  return bytes
}
