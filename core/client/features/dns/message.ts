import { formatIp, parseIp } from "../../../protocol/index.ts"

/*
 * DNS messages (RFC 1035, section 4), as far as a resolver on this machine needs them.
 *
 *   header   id u16, flags u16, question, answer, authority and additional counts u16 each
 *   question name (labels, each after its length; 0 ends), type u16, class u16
 *   answer   name (here always a pointer, 0xc000 | offset), type, class, ttl u32, length u16, data
 */

export const recordType = { A: 1, CNAME: 5, PTR: 12, AAAA: 28, OPT: 41 } as const
export const responseCode = { noError: 0, formatError: 1, serverFailure: 2, noSuchName: 3, notImplemented: 4 } as const

const headerBytes = 12
/** Of a record: all but its data, with a pointer for a name. */
const recordHeadBytes = 12
const pointer = 0xc000
const classIn = 1
const maxNameBytes = 255
const maxLabelBytes = 63
/** What we accept by UDP when the asker states nothing is decided by the engine; this is what we tell in EDNS. */
const ednsPayloadBytes = 4_096

export interface Question {
  id: number
  /** Without the trailing dot; "" is the root. Bytes of a label are Latin-1 characters. */
  name: string
  type: number
  isInternet: boolean
  recursionDesired: boolean
  edns: boolean
  /** The bytes of the question, to be repeated in the answer. */
  raw: Uint8Array
}

/** Undefined when it is not a plain query with one question. */
export function parseQuery(message: Uint8Array): Question | undefined {
  if (message.byteLength < headerBytes) return undefined
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const flags = view.getUint16(2)
  const isQuery = (flags & 0xf800) === 0
  if (!isQuery || view.getUint16(4) !== 1) return undefined
  const labels: string[] = []
  let at = headerBytes
  for (;;) {
    const length = message[at]
    if (length === undefined || length > maxLabelBytes || at - headerBytes > maxNameBytes) return undefined
    at++
    if (length === 0) break
    if (at + length > message.byteLength) return undefined
    labels.push(Buffer.from(message.subarray(at, at + length)).toString("latin1"))
    at += length
  }
  if (at + 4 > message.byteLength) return undefined
  return {
    id: view.getUint16(0),
    name: labels.join("."),
    type: view.getUint16(at),
    isInternet: view.getUint16(at + 2) === classIn,
    recursionDesired: (flags & 0x0100) !== 0,
    // The only additional record of a query is EDNS's.
    edns: view.getUint16(10) > 0,
    raw: message.subarray(headerBytes, at + 4),
  }
}

export interface AnswerRecords {
  /** They fit the question's type. */
  ips?: readonly string[]
  /** Short by default, because the pod's view may change with every deployment. */
  ttlSeconds?: number
  /** Whose addresses they are, when the question's name is an alias of it. */
  owner?: string
}

export function buildAnswer(question: Question, code: number, answer: AnswerRecords = {}): Uint8Array {
  const { ips = [], ttlSeconds = 1, owner = question.name } = answer
  const alias = owner.toLowerCase() === question.name.toLowerCase() ? undefined : encodeName(owner)
  const addresses = ips.map((ip) => ({ type: question.type, data: parseIp(ip) }))
  const records = alias && ips.length > 0 ? [{ type: recordType.CNAME, data: alias }, ...addresses] : addresses
  const size = records.reduce((sum, { data }) => sum + recordHeadBytes + data.byteLength, 0)
  const out = new Uint8Array(headerBytes + question.raw.byteLength + size + (question.edns ? 11 : 0))
  const view = new DataView(out.buffer)
  view.setUint16(0, question.id)
  // Response, recursion available.
  view.setUint16(2, 0x8080 | (question.recursionDesired ? 0x0100 : 0) | code)
  view.setUint16(4, 1)
  view.setUint16(6, records.length)
  view.setUint16(10, question.edns ? 1 : 0)
  out.set(question.raw, headerBytes)
  let at = headerBytes + question.raw.byteLength
  let name = headerBytes
  for (const { type, data } of records) {
    view.setUint16(at, pointer | name)
    view.setUint16(at + 2, type)
    view.setUint16(at + 4, classIn)
    view.setUint32(at + 6, ttlSeconds)
    view.setUint16(at + 10, data.byteLength)
    out.set(data, at + recordHeadBytes)
    // The addresses are the alias's.
    if (type === recordType.CNAME) name = at + recordHeadBytes
    at += recordHeadBytes + data.byteLength
  }
  if (question.edns) {
    view.setUint16(at + 1, recordType.OPT)
    view.setUint16(at + 3, ednsPayloadBytes)
  }
  return out
}

/** Undefined when it is no name of DNS. */
function encodeName(name: string): Uint8Array | undefined {
  const labels = name.split(".").map((label) => Buffer.from(label, "latin1"))
  if (labels.some(({ length }) => length === 0 || length > maxLabelBytes)) return undefined
  const encoded = Buffer.concat([...labels.flatMap((label) => [Buffer.of(label.length), label]), Buffer.of(0)])
  return encoded.length <= maxNameBytes ? encoded : undefined
}

/** A SERVFAIL for whatever was asked, also when it could not be read. */
export function buildFailure(query: Uint8Array): Uint8Array {
  const out = new Uint8Array(headerBytes)
  out.set(query.subarray(0, 2))
  out[2] = 0x80
  out[3] = 0x80 | responseCode.serverFailure
  return out
}

export const isIpText = (text: string): boolean => {
  try {
    return formatIp(parseIp(text)) !== ""
  } catch {
    return false
  }
}
