import { errno } from "../../../../core/linux/errno.ts"
import { type Architecture, type CallName, callNumber } from "./abi.ts"

/** A condition on one argument of a call, all unsigned 32-bit (the low word) but for `nonZero`, which looks at 64 bits. */
export type Condition =
  | { arg: number; equals: number }
  /** `from` inclusive, `to` exclusive. */
  | { arg: number; from: number; to: number }
  | { arg: number; nonZero: true }
  | { arg: number; without: number }

/** A call is notified when all conditions of any of the alternatives hold. */
export type Rule = readonly (readonly Condition[])[]

export const always: Rule = [[]]

/** Instructions a seccomp filter may have. Source: BPF_MAXINSNS of linux/bpf_common.h. */
const maxInstructions = 4096

const LOAD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_GREATER_EQUAL = 0x35
const JUMP_SET = 0x45
const RETURN = 0x06

const RET_ALLOW = 0x7fff0000
const RET_NOTIFY = 0x7fc00000
const RET_ERRNO = 0x00050000

/** Offsets in struct seccomp_data. */
const nrAt = 0
const archAt = 4
const argumentsAt = 16

type Instruction = [code: number, ifTrue: number, ifFalse: number, k: number]

/**
 * Compiles the rules to an array of struct sock_filter (code u16, jt u8, jf u8, k u32). The order of `rules` is the
 * order of the tests: calls with conditions come first, because the kernel remembers calls that are always allowed
 * and never runs the filter for them, while each call with conditions walks to its place.
 */
export function compileFilter(
  architecture: Architecture,
  rules: ReadonlyMap<CallName, Rule>,
  refused: ReadonlyMap<CallName, number>,
): Buffer {
  const program: Instruction[] = [
    [LOAD, 0, 0, archAt],
    [JUMP_EQUAL, 1, 0, architecture.audit],
    [RETURN, 0, 0, RET_ALLOW],
    [LOAD, 0, 0, nrAt],
  ]
  if (architecture.foreignBit !== undefined) {
    program.push([JUMP_SET, 0, 1, architecture.foreignBit], [RETURN, 0, 0, RET_ERRNO | errno.ENOSYS])
  }
  for (const [name, rule] of rules) {
    const number = callNumber(architecture, name)
    if (number === undefined) continue
    const body = ruleBody(rule)
    program.push([JUMP_EQUAL, 0, body.length, number], ...body)
  }
  for (const [name, number] of refused) {
    const call = callNumber(architecture, name)
    if (call !== undefined) program.push([JUMP_EQUAL, 0, 1, call], [RETURN, 0, 0, RET_ERRNO | number])
  }
  program.push([RETURN, 0, 0, RET_ALLOW])
  if (program.length > maxInstructions) throw new RangeError(`the filter has ${program.length} instructions`)
  return encode(program)
}

function ruleBody(rule: Rule): Instruction[] {
  const body: Instruction[] = []
  for (const conditions of rule) {
    if (conditions.length === 0) return [...body, [RETURN, 0, 0, RET_NOTIFY]]
    body.push(...alternative(conditions))
  }
  return [...body, [RETURN, 0, 0, RET_ALLOW]]
}

/** Falls through to what follows when a condition does not hold. */
function alternative(conditions: readonly Condition[]): Instruction[] {
  const tests = conditions.map(conditionLength)
  const total = tests.reduce((sum, length) => sum + length, 0)
  const body: Instruction[] = []
  for (const condition of conditions) body.push(...test(condition, total - body.length))
  return [...body, [RETURN, 0, 0, RET_NOTIFY]]
}

function conditionLength(condition: Condition): number {
  if ("nonZero" in condition) return 4
  return "from" in condition ? 3 : 2
}

/** `left`: instructions from the first of this test to the final return; a jump of `left - index` steps over that. */
function test(condition: Condition, left: number): Instruction[] {
  const low = argumentsAt + condition.arg * 8
  if ("equals" in condition) {
    return [
      [LOAD, 0, 0, low],
      [JUMP_EQUAL, 0, left - 1, condition.equals],
    ]
  }
  if ("without" in condition) {
    return [
      [LOAD, 0, 0, low],
      [JUMP_SET, left - 1, 0, condition.without],
    ]
  }
  if ("from" in condition) {
    return [
      [LOAD, 0, 0, low],
      [JUMP_GREATER_EQUAL, 0, left - 1, condition.from],
      [JUMP_GREATER_EQUAL, left - 2, 0, condition.to],
    ]
  }
  return [
    [LOAD, 0, 0, low],
    [JUMP_EQUAL, 0, 2, 0],
    [LOAD, 0, 0, low + 4],
    [JUMP_EQUAL, left - 3, 0, 0],
  ]
}

function encode(program: Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8)
  program.forEach(([code, ifTrue, ifFalse, k], index) => {
    bytes.writeUInt16LE(code, index * 8)
    bytes.writeUInt8(ifTrue, index * 8 + 2)
    bytes.writeUInt8(ifFalse, index * 8 + 3)
    bytes.writeUInt32LE(k >>> 0, index * 8 + 4)
  })
  return bytes
}
