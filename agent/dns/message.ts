/*
 * DNS messages (RFC 1035), as far as a stub resolver needs them. All numbers are big-endian.
 * Header, 12 bytes: id u16, flags u16, then counts of questions, answers, authorities, additionals u16 each.
 * Question: name, type u16, class u16. Record: name, type u16, class u16, ttl u32, length u16, data.
 */

export const recordType = { A: 1, CNAME: 5, SOA: 6, PTR: 12, AAAA: 28, OPT: 41 } as const
export type QueryType = typeof recordType.A | typeof recordType.AAAA | typeof recordType.PTR

const IN = 1
const QR = 0x8000
const TC = 0x0200
const RD = 0x0100
/** What we can take over UDP (EDNS, RFC 6891); answers above it come truncated and are asked for again over TCP. */
const udpBytes = 1232
const maxNameBytes = 255
/** Compression pointers followed in one name; more than any honest answer has. */
const maxPointers = 32

export interface Answer {
  /** Owner, with the trailing dot. */
  name: string
  type: number
  /** Address bytes of A and AAAA; for CNAME and PTR the name. */
  data: Uint8Array | string
  ttlSeconds: number
}

export interface Reply {
  /** 0 = no error, 3 = no such name, 2 = server failure, 5 = refused. */
  code: number
  isTruncated: boolean
  answers: Answer[]
  /** How long an answer without records holds, as the zone says; undefined when it does not (RFC 2308). */
  absentSeconds?: number
}

/** Why a server gave no reply. */
export type Failure = "timeout" | "unreachable" | "bad-name"

/** Undefined when `name` cannot be asked for: a label above 63 bytes, an empty one, or too long in all. */
export function encodeQuery(id: number, name: string, type: QueryType): Uint8Array | undefined {
  const encoded = encodeName(name)
  if (!encoded) return undefined
  const header = Buffer.alloc(12)
  header.writeUInt16BE(id, 0)
  header.writeUInt16BE(RD, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(1, 10)
  const question = Buffer.alloc(4)
  question.writeUInt16BE(type, 0)
  question.writeUInt16BE(IN, 2)
  // An OPT record: root name, type, our UDP size in place of the class, zero ttl and length.
  const opt = Buffer.alloc(11)
  opt.writeUInt16BE(recordType.OPT, 1)
  opt.writeUInt16BE(udpBytes, 3)
  return Buffer.concat([header, encoded, question, opt])
}

/** Reads the reply to a query. Undefined when it is not one: another id, another question, or broken. */
export function decodeReply(bytes: Uint8Array, query: Uint8Array): Reply | undefined {
  const reader = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    const flags = reader.readUInt16BE(2)
    const asked = Buffer.from(query.buffer, query.byteOffset, query.byteLength)
    if (reader.readUInt16BE(0) !== asked.readUInt16BE(0) || !(flags & QR)) return undefined
    if (reader.readUInt16BE(4) !== 1 || !sameQuestion(reader, asked)) return undefined
    return { code: flags & 0xf, isTruncated: (flags & TC) !== 0, ...readRecords(reader) }
  } catch {
    return undefined
  }
}

function sameQuestion(reply: Buffer, query: Buffer): boolean {
  const [ours, theirs] = [readName(query, 12), readName(reply, 12)]
  return (
    ours.name.toLowerCase() === theirs.name.toLowerCase() &&
    reply.readUInt16BE(theirs.end) === query.readUInt16BE(ours.end)
  )
}

function readRecords(reader: Buffer): Pick<Reply, "answers" | "absentSeconds"> {
  const answers: Answer[] = []
  let absentSeconds: number | undefined
  let at = readName(reader, 12).end + 4
  const answerCount = reader.readUInt16BE(6)
  const count = answerCount + reader.readUInt16BE(8)
  for (let index = 0; index < count; index++) {
    const { name, end } = readName(reader, at)
    const type = reader.readUInt16BE(end)
    const ttlSeconds = reader.readUInt32BE(end + 4)
    const length = reader.readUInt16BE(end + 8)
    const start = end + 10
    at = start + length
    if (at > reader.length) throw new RangeError("record reaches beyond the message")
    if (index >= answerCount) {
      // The last field of a SOA record bounds how long "there is none" may be believed.
      if (type === recordType.SOA && length >= 20) absentSeconds = Math.min(ttlSeconds, reader.readUInt32BE(at - 4))
    } else if ((type === recordType.A && length === 4) || (type === recordType.AAAA && length === 16)) {
      answers.push({ name, type, data: Uint8Array.from(reader.subarray(start, at)), ttlSeconds })
    } else if (type === recordType.CNAME || type === recordType.PTR) {
      answers.push({ name, type, data: readName(reader, start).name, ttlSeconds })
    }
  }
  return { answers, ...(absentSeconds !== undefined && { absentSeconds }) }
}

/** The name at `at`, and where what follows it begins. @throws RangeError */
function readName(reader: Buffer, at: number): { name: string; end: number } {
  const labels: string[] = []
  let end: number | undefined
  for (let pointers = 0; ; ) {
    const length = reader.readUInt8(at)
    if (length === 0) return { name: `${labels.join(".")}.`, end: end ?? at + 1 }
    if (length >= 0xc0) {
      end ??= at + 2
      at = reader.readUInt16BE(at) & 0x3fff
      if (++pointers > maxPointers) throw new RangeError("too many compression pointers")
      continue
    }
    if (length > 63 || labels.length > 127) throw new RangeError("bad label")
    labels.push(reader.toString("latin1", at + 1, at + 1 + length))
    at += 1 + length
  }
}

function encodeName(name: string): Buffer | undefined {
  const labels = name
    .replace(/\.$/, "")
    .split(".")
    .map((label) => Buffer.from(label))
  if (labels.some((label) => label.length === 0 || label.length > 63)) return undefined
  const encoded = Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.alloc(1)])
  return encoded.length > maxNameBytes ? undefined : encoded
}
