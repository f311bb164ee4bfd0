import { release } from "node:os"
import { errno } from "../../../../core/linux/errno.ts"
import { addressOf, syscall } from "../../../../core/linux/syscall.ts"
import { isKernelAtLeast } from "./rung.ts"

/*
 * struct seccomp_notif (80 bytes): id u64, pid u32, flags u32, nr i32, arch u32, instruction_pointer u64, args u64 x 6
 * struct seccomp_notif_resp (24): id u64, val i64, error i32, flags u32
 * struct seccomp_notif_addfd (24): id u64, flags u32, srcfd u32, newfd u32, newfd_flags u32
 * Source: linux/seccomp.h.
 */
export const notificationBytes = 80
export const RECV = 0xc0502100
const SEND = 0xc0182101
const ADDFD = 0x40182103
const ID_VALID = 0x40082102
const SET_FLAGS = 0x40082104

const RESPOND_CONTINUE = 1
const ADDFD_SETFD = 1
const ADDFD_SEND = 2
const SYNC_WAKE_UP = 1
const SIG_SETMASK = 2
/** The kernel's sigset_t: 64 bits. */
const allSignals = Buffer.alloc(8, 0xff)
const signalsBefore = Buffer.alloc(8)
export const O_CLOEXEC = 0o2000000

/**
 * Whether a call that was taken is interrupted by deadly signals only (WAIT_KILLABLE_RECV, Linux 5.19). Then a descriptor is given in two
 * steps, the answer being one of its own: in one step a caller gets 0 in place of its descriptor when this process is stopped meanwhile
 * (SIGSTOP, a frozen container, a laptop that is closed). Before, a signal between the two would make the call again and lose the first.
 */
const isInterruptedByDeathOnly = isKernelAtLeast(release(), [5, 19])

/** One intercepted call: who made it and with which arguments. */
export class Notification {
  readonly #view: DataView
  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, notificationBytes)
  }
  get id(): bigint {
    return this.#view.getBigUint64(0, true)
  }
  /** Thread id of the caller as this process sees it. */
  get tid(): number {
    return this.#view.getUint32(8, true)
  }
  get nr(): number {
    return this.#view.getInt32(16, true)
  }
  /** Argument as C's `int`. */
  int(index: number): number {
    return this.#view.getInt32(32 + index * 8, true)
  }
  /** Argument as an unsigned number; beyond 2^53 it is rounded. */
  size(index: number): number {
    return Number(this.#view.getBigUint64(32 + index * 8, true))
  }
  /** Argument as 64 bits: an address or an offset. */
  word(index: number): bigint {
    return this.#view.getBigUint64(32 + index * 8, true)
  }
  /** Whether a pointer argument is null. */
  isNull(index: number): boolean {
    return this.#view.getUint32(32 + index * 8, true) === 0 && this.#view.getUint32(36 + index * 8, true) === 0
  }
}

/**
 * Answers notifications. A caller that is gone meanwhile is no failure: the answer is dropped. Any thread that has the
 * listener may have its own.
 */
export class Replier {
  readonly #listener: number
  readonly #response = Buffer.from(new ArrayBuffer(24))
  readonly #responseAt = addressOf(this.#response)
  readonly #addition = Buffer.from(new ArrayBuffer(24))
  readonly #additionAt = addressOf(this.#addition)
  constructor(listener: number) {
    this.#listener = listener
  }

  /** Lets the kernel run the call as it was made. */
  proceed(id: bigint): void {
    this.#send(id, 0n, 0, RESPOND_CONTINUE)
  }
  value(id: bigint, value: bigint): void {
    this.#send(id, value, 0, 0)
  }
  /** `number` is a positive errno. */
  fail(id: bigint, number: number): void {
    this.#send(id, 0n, -number, 0)
  }
  /**
   * Gives the caller a copy of descriptor `fd` as the result of its call, at number `at` when that is given.
   * Returns a negative errno when it cannot be done; the call is then still unanswered.
   */
  give(id: bigint, fd: number, closeOnExec: boolean, at?: number): number {
    const addition = this.#addition
    addition.writeBigUInt64LE(id, 0)
    const how = isInterruptedByDeathOnly ? 0 : ADDFD_SEND
    addition.writeUInt32LE(at === undefined ? how : how | ADDFD_SETFD, 8)
    addition.writeUInt32LE(fd, 12)
    addition.writeUInt32LE(at ?? 0, 16)
    addition.writeUInt32LE(closeOnExec ? O_CLOEXEC : 0, 20)
    const result = isInterruptedByDeathOnly ? this.#addAndAnswer(id) : this.#addAsAnswer()
    return result === -errno.ENOENT ? 0 : result
  }

  #addAndAnswer(id: bigint): number {
    let result: number
    do result = syscall("ioctl", this.#listener, ADDFD, this.#additionAt)
    while (result === -errno.EINTR)
    if (result >= 0) this.value(id, BigInt(result))
    return result
  }

  /** A signal in the middle would leave the call answered with 0 and without the descriptor. */
  #addAsAnswer(): number {
    syscall("rt_sigprocmask", SIG_SETMASK, allSignals, signalsBefore, allSignals.length)
    const result = syscall("ioctl", this.#listener, ADDFD, this.#additionAt)
    syscall("rt_sigprocmask", SIG_SETMASK, signalsBefore, 0, signalsBefore.length)
    return result
  }

  #send(id: bigint, value: bigint, error: number, flags: number): void {
    const response = this.#response
    response.writeBigUInt64LE(id, 0)
    response.writeBigInt64LE(value, 8)
    response.writeInt32LE(error, 16)
    response.writeUInt32LE(flags, 20)
    let result: number
    do result = syscall("ioctl", this.#listener, SEND, this.#responseAt)
    while (result === -errno.EINTR)
  }
}

/** Whether the caller of notification `id` still waits for the answer. */
export function isWaiting(listener: number, id: bigint): boolean {
  return syscall("ioctl", listener, ID_VALID, new BigUint64Array([id])) === 0
}

/** Hands the processor straight to the waiting thread and back (Linux 6.6 and later; elsewhere it does nothing). */
export function wakeSynchronously(listener: number): void {
  syscall("ioctl", listener, SET_FLAGS, SYNC_WAKE_UP)
}
