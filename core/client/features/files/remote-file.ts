import type { RemoteFile, RemoteStat } from "../../engine.ts"
import { ErrnoError } from "../../engine.ts"
import { errno } from "../response-errno.ts"
import type { Descriptor, FileLink } from "./file-link.ts"
import { toStat } from "./metadata.ts"

/** Most bytes one message asks for or carries. */
const maxTransferBytes = 1 << 20

/** An open file at the agent. */
export class AgentFile implements RemoteFile {
  readonly #link: FileLink
  readonly #descriptor: Descriptor
  #closed = false

  constructor(link: FileLink, descriptor: Descriptor) {
    this.#link = link
    this.#descriptor = descriptor
  }

  get #fd(): bigint {
    this.#link.require(this.#descriptor)
    return this.#descriptor.fd
  }

  async stat(): Promise<RemoteStat> {
    const request = { path: null, fd: this.#fd, followSymlink: true }
    return toStat((await this.#link.ask({ kind: "Xstat", value: request }, "Xstat")).metadata)
  }

  async readAt(offset: bigint, length: number): Promise<Uint8Array> {
    const value = { remoteFd: this.#fd, bufferSize: BigInt(Math.min(length, maxTransferBytes)), startFrom: offset }
    return (await this.#link.ask({ kind: "ReadLimited", value }, "ReadLimited")).bytes
  }

  async writeAt(offset: bigint, data: Uint8Array): Promise<number> {
    await this.#link.settle()
    const writeBytes = data.subarray(0, maxTransferBytes)
    const value = { remoteFd: this.#fd, startFrom: offset, writeBytes }
    return taken((await this.#link.ask({ kind: "WriteLimited", value }, "WriteLimited")).writtenAmount, writeBytes)
  }

  async append(data: Uint8Array): Promise<number> {
    await this.#link.settle()
    const writeBytes = data.subarray(0, maxTransferBytes)
    const value = { fd: this.#fd, writeBytes }
    return taken((await this.#link.ask({ kind: "Write", value }, "Write")).writtenAmount, writeBytes)
  }

  async truncate(size: bigint): Promise<void> {
    this.#need()
    await this.#link.ask({ kind: "Ftruncate", value: { fd: this.#fd, length: size } }, "Ftruncate")
  }

  async setTimes(atimeNs: bigint, mtimeNs: bigint): Promise<void> {
    this.#need()
    const times: [ReturnType<typeof timespec>, ReturnType<typeof timespec>] = [timespec(atimeNs), timespec(mtimeNs)]
    await this.#link.ask({ kind: "Futimens", value: { fd: this.#fd, times } }, "Futimens")
  }

  async setMode(mode: number): Promise<void> {
    this.#need()
    await this.#link.ask({ kind: "Fchmod", value: { fd: this.#fd, mode } }, "Fchmod")
  }

  async setOwner(uid: number, gid: number): Promise<void> {
    this.#need()
    // -1 leaves what is there; unsigned on the wire.
    const value = { fd: this.#fd, owner: uid >>> 0, group: gid >>> 0 }
    await this.#link.ask({ kind: "Fchown", value }, "Fchown")
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#link.close(this.#descriptor)
  }

  #need(): void {
    if (!this.#link.supports("copyFile")) throw new ErrnoError(errno.ENOSYS, "the agent is too old for this")
  }
}

/** How many of the bytes were written: at least one, or who has more would ask without end. @throws ErrnoError EIO */
function taken(amount: bigint, { length }: Uint8Array): number {
  if (amount > BigInt(length) || (amount < 1n && length > 0))
    throw new ErrnoError(errno.EIO, `${amount} of ${length} bytes`)
  return Number(amount)
}

const timespec = (ns: bigint) => ({ tvSec: ns / 1_000_000_000n, tvNsec: ns % 1_000_000_000n })
