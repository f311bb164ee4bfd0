import { decodeHuffman } from "./huffman.ts"
import { staticTable } from "./static-table.ts"

export type HeaderField = readonly [name: string, value: string]

/** Cost of an entry beyond its text (RFC 7541, section 4.1). */
const entryOverhead = 32
/** Decoded size of one list of fields; what is larger is refused, however small it was on the wire. */
const maxListBytes = 256 << 10

/** The receiving side of header compression for one direction of one connection. */
export class HpackDecoder {
  #entries: HeaderField[] = []
  #bytes = 0
  #limit = 4096
  /** What the receiver of the direction allows (SETTINGS_HEADER_TABLE_SIZE). */
  allowedBytes = 4096

  /** The fields of one header block, names and values as byte strings; undefined when the block is broken: so is the connection. */
  decode(block: Buffer): HeaderField[] | undefined {
    const reader = new BlockReader(block)
    const fields: HeaderField[] = []
    let listBytes = 0
    while (reader.left) {
      const field = this.#field(reader, fields.length === 0)
      if (field === "resized") continue
      if (!field || reader.failed) return undefined
      listBytes += field[0].length + field[1].length + entryOverhead
      if (listBytes > maxListBytes) return undefined
      fields.push(field)
    }
    return fields
  }

  #field(reader: BlockReader, first: boolean): HeaderField | "resized" | undefined {
    const kind = reader.peek()
    if (kind & 0x80) return this.#entry(reader.integer(7))
    if (kind & 0x40) {
      const field = this.#literal(reader, 6)
      if (field) this.#insert(field)
      return field
    }
    if (kind & 0x20) {
      const size = reader.integer(5)
      if (!first || size > this.allowedBytes || reader.failed) return undefined
      this.#limit = size
      this.#evict()
      return "resized"
    }
    return this.#literal(reader, 4)
  }

  #literal(reader: BlockReader, prefix: number): HeaderField | undefined {
    const index = reader.integer(prefix)
    const name = index === 0 ? reader.string() : this.#entry(index)?.[0]
    const value = reader.string()
    return name === undefined || value === undefined || reader.failed ? undefined : [name, value]
  }

  #entry(index: number): HeaderField | undefined {
    return index <= staticTable.length ? staticTable[index - 1] : this.#entries[index - staticTable.length - 1]
  }

  #insert(field: HeaderField): void {
    this.#entries.unshift(field)
    this.#bytes += size(field)
    this.#evict()
  }

  #evict(): void {
    while (this.#bytes > this.#limit) this.#bytes -= size(this.#entries.pop()!)
  }
}

const size = ([name, value]: HeaderField) => name.length + value.length + entryOverhead

class BlockReader {
  readonly #bytes: Buffer
  #at = 0
  failed = false

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): boolean {
    return this.#at < this.#bytes.length
  }

  peek(): number {
    return this.#bytes[this.#at] ?? 0
  }

  /** An integer in the low `prefix` bits of this byte and, when they are all ones, the following ones. */
  integer(prefix: number): number {
    const mask = 2 ** prefix - 1
    let value = this.#byte() & mask
    if (value < mask) return value
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    this.failed = true
    return 0
  }

  string(): string | undefined {
    const isHuffman = (this.peek() & 0x80) !== 0
    const length = this.integer(7)
    const bytes = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    if (this.failed || bytes.length < length) {
      this.failed = true
      return undefined
    }
    return isHuffman ? decodeHuffman(bytes) : bytes.toString("latin1")
  }

  #byte(): number {
    if (!this.left) this.failed = true
    return this.#bytes[this.#at++] ?? 0
  }
}

const staticNames = new Map<string, number>()
const staticFields = new Map<string, number>()
for (const [index, [name, value]] of staticTable.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, index + 1)
  staticFields.set(`${name}\0${value}`, index + 1)
}

/** A header block that neither uses nor changes the table both ends share, so it may stand between blocks of somebody else. */
export function encodeStateless(fields: readonly HeaderField[]): Buffer {
  const pieces: Buffer[] = []
  for (const [name, value] of fields) {
    const whole = staticFields.get(`${name}\0${value}`)
    if (whole !== undefined) {
      pieces.push(integer(0x80, 7, whole))
      continue
    }
    const index = staticNames.get(name) ?? 0
    // Literal never indexed: whoever wished that for a field keeps it (RFC 7541, section 6.2.3).
    pieces.push(integer(0x10, 4, index))
    if (index === 0) pieces.push(...plainString(name))
    pieces.push(...plainString(value))
  }
  return Buffer.concat(pieces)
}

function plainString(text: string): [Buffer, Buffer] {
  const bytes = Buffer.from(text, "latin1")
  return [integer(0, 7, bytes.length), bytes]
}

function integer(flags: number, prefix: number, value: number): Buffer {
  const mask = 2 ** prefix - 1
  if (value < mask) return Buffer.from([flags | value])
  const bytes = [flags | mask]
  let rest = value - mask
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  bytes.push(rest)
  return Buffer.from(bytes)
}
