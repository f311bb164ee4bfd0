import { describe, expect, test } from "bun:test"
import { architectureOf, type CallName, callNumber } from "./abi.ts"
import { compileFilter } from "./filter.ts"
import { descriptorRanges, refusedCalls, watchRules } from "./rules.ts"

const x64 = architectureOf("x64")!
const all = {
  withoutIpv6: false,
  files: true,
  dns: true,
  outgoing: true,
  incoming: true,
  accepts: true,
  hostname: true,
}
const none = {
  withoutIpv6: false,
  files: false,
  dns: false,
  outgoing: false,
  incoming: false,
  accepts: false,
  hostname: false,
}
const ranges = descriptorRanges(1024)

/** What the kernel would answer: a classic BPF machine for the instructions the compiler uses. */
function answerOf(program: Buffer, audit: number, number: number, args: readonly bigint[]): string {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(number >>> 0, 0)
  data.writeUInt32LE(audit, 4)
  args.forEach((arg, index) => {
    data.writeBigUInt64LE(BigInt.asUintN(64, arg), 16 + index * 8)
  })
  let accumulator = 0
  for (let at = 0; ; at++) {
    const code = program.readUInt16LE(at * 8)
    const [yes, no, k] = [program[at * 8 + 2]!, program[at * 8 + 3]!, program.readUInt32LE(at * 8 + 4)]
    if (code === 0x20) accumulator = data.readUInt32LE(k)
    else if (code === 0x15) at += accumulator === k ? yes : no
    else if (code === 0x35) at += accumulator >= k ? yes : no
    else if (code === 0x45) at += (accumulator & k) !== 0 ? yes : no
    else if (code === 0x06) {
      if (k === 0x7fff0000) return "allow"
      return k === 0x7fc00000 ? "notify" : `errno ${k & 0xffff}`
    } else throw new Error(`instruction ${code}`)
  }
}

const decide = (parts: typeof all, name: CallName, ...args: (number | bigint)[]) =>
  answerOf(
    compileFilter(x64, watchRules(parts, ranges), refusedCalls),
    x64.audit,
    callNumber(x64, name)!,
    args.map(BigInt),
  )

const ready = ranges.readyFrom
const live = ranges.liveFrom

describe("the filter", () => {
  test.each<[string, string, CallName, (number | bigint)[]]>([
    ["a path is looked at", "notify", "openat", [-100, 0x1000]],
    ["reading an ordinary descriptor is not", "allow", "read", [5]],
    ["nor a whole remote file", "allow", "read", [ready]],
    ["reading a live remote file is", "notify", "read", [live]],
    ["up to the end of the range", "notify", "write", [ranges.end - 1]],
    ["and not beyond", "allow", "write", [ranges.end]],
    ["nor with a negative descriptor", "allow", "read", [-1]],
    ["fstat of a whole remote file is", "notify", "fstat", [ready]],
    ["fstat of an ordinary one is not", "allow", "fstat", [3]],
    ["nor in its newer form", "allow", "newfstatat", [3, 0x1000, 0x2000, 0x1000]],
    ["but of a remote file it is", "notify", "newfstatat", [ready, 0x1000, 0x2000, 0x1000]],
    ["and with a path it is", "notify", "newfstatat", [3, 0x1000, 0x2000, 0]],
    ["and with the working directory it is", "notify", "statx", [-100, 0x1000, 0x1000, 0, 0]],
    ["anonymous memory is not", "allow", "mmap", [0, 4096, 3, 0x22, -1]],
    ["a live file mapped is", "notify", "mmap", [0, 4096, 1, 2, live]],
    ["duplicating a remote descriptor is", "notify", "fcntl", [ready, 1030]],
    ["asking for its flags is not", "allow", "fcntl", [ready, 3]],
    ["a datagram with an address is", "notify", "sendto", [3, 0, 0, 0, 0x1000]],
    ["also when only the upper half of the pointer is set", "notify", "sendto", [3, 0, 0, 0, 0x100000000n]],
    ["one without is not", "allow", "sendto", [3, 0, 0, 0, 0]],
    ["accept that wants the address is", "notify", "accept4", [3, 0x1000]],
    ["one that does not is not", "allow", "accept4", [3, 0]],
    ["SO_ERROR is", "notify", "getsockopt", [3, 1, 4]],
    ["other options are not", "allow", "getsockopt", [3, 1, 5]],
    ["sendfile to a live file is", "notify", "sendfile", [live, 3]],
    ["sendfile from one is", "notify", "sendfile", [3, live]],
    ["between others it is not", "allow", "sendfile", [3, 4]],
    ["io_uring is refused", "errno 38", "io_uring_setup", [1]],
  ])("%s: %s", (_, expected, name, args) => {
    expect(decide(all, name, ...args)).toBe(expected)
  })

  test.each<CallName>(["openat", "connect", "bind", "uname", "getpeername", "read", "accept4"])(
    "a part that is off costs nothing: %s",
    (name) => {
      expect(decide(none, name, live, 0x1000)).toBe("allow")
    },
  )

  test("the x32 table is refused, other architectures pass", () => {
    const program = compileFilter(x64, watchRules(all, ranges), refusedCalls)
    expect(answerOf(program, x64.audit, 0x40000000 + 257, [])).toBe("errno 38")
    expect(answerOf(program, 0x40000003, 5, [])).toBe("allow")
  })

  test("arm64 has its own numbers", () => {
    const arm64 = architectureOf("arm64")!
    const program = compileFilter(arm64, watchRules(all, ranges), refusedCalls)
    expect(answerOf(program, arm64.audit, 56, [])).toBe("notify")
    expect(answerOf(program, arm64.audit, 63, [BigInt(live)])).toBe("notify")
    expect(answerOf(program, arm64.audit, 63, [3n])).toBe("allow")
  })
})

test("the ranges fit below the limit of open files", () => {
  expect(descriptorRanges(1024)).toEqual({ readyFrom: 512, liveFrom: 768, end: 1024 })
  expect(descriptorRanges(256)).toEqual({ readyFrom: 128, liveFrom: 192, end: 256 })
  expect(descriptorRanges(1_048_576)).toEqual({ readyFrom: 8192, liveFrom: 12_288, end: 16_384 })
})
