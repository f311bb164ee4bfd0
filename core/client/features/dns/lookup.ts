import { lookup as lookupHere } from "node:dns/promises"
import { BelievedAnswers, type Perishable } from "../../../believed.ts"
import { AppError } from "../../../errors.ts"
import {
  type AddressFamily,
  type GetAddrInfoResponse,
  type LookupRecord,
  lifeOf,
  lifeProtocol,
  type ResponseError,
  walkOf,
  walkProtocol,
} from "../../../protocol/index.ts"
import { AnswerQueue } from "../../answer-queue.ts"
import type { Conversation } from "../../conversation.ts"
import { responseCode } from "./message.ts"

/** Answers of the pod kept; a program asks for a few dozen names. With this many addresses one is not kept. */
const maxKept = 512
const maxKeptAddresses = 32

export type Family = 4 | 6

/**
 * A name's addresses of one family, or the DNS response code that says why there are none. `ttlSeconds`: how long the program may keep
 * them, where that is known. `owner`: whose addresses they are, without the last dot, where the name may be another's alias.
 */
export type LookupResult = { ips: string[]; ttlSeconds?: number; owner?: string } | { code: number }

/** What a name's full names came to, as the pod's search list makes them. */
export interface Walk {
  /** Response codes in their order, up to the full name the records are of; none: the search list was not needed. */
  codes: number[]
  /** Of both families. */
  records: LookupRecord[]
  /** Holds until then, in milliseconds of `performance.now()`; 0: it does not say. */
  until: number
  /** False once it was said on a connection that is lost. */
  isCurrent(): boolean
}

export interface Names {
  /** Asks the pod: for a name with a dot at its end as it is, else as the pod's search list has it. Never rejects. */
  remote(name: string, family: Family): Promise<LookupResult>
  /**
   * Asks the pod, at once, about all the full names of a name. Never rejects; a code: all of them fail so; undefined: nothing is known of
   * any, each has to be asked for alone.
   */
  walk(name: string, fullNames: readonly string[]): Promise<Walk | { code: number } | undefined>
  /** Asks this machine. Never rejects. */
  local(name: string, family: Family): Promise<LookupResult>
}

export function createNames(conversation: Conversation): Names {
  const believed = new BelievedAnswers<LookupResult & Perishable>(maxKept)
  const answers = new AnswerQueue<GetAddrInfoResponse>()
  let interruptions = 0
  conversation.on("GetAddrInfoResponse", (answer) => {
    if (!answers.answer(answer)) conversation.broken("a name's address")
  })
  conversation.onInterrupted((error) => {
    interruptions++
    believed.clear()
    answers.failWaiting(error)
  })
  conversation.onEnd((error) => answers.fail(error))

  const ask = (name: string, family: AddressFamily["kind"], protocol = lifeProtocol): Promise<GetAddrInfoResponse> => {
    const answered = answers.next()
    if (conversation.supports("addrInfoV2")) {
      const socktype = { kind: "Stream" } as const
      const value = { node: name, servicePort: 0, family: { kind: family }, socktype, flags: 0, protocol }
      conversation.send({ kind: "GetAddrInfoRequestV2", value })
    } else {
      conversation.send({ kind: "GetAddrInfoRequest", value: { node: name } })
    }
    return answered
  }

  /** For agents that tell records only. */
  const walkAlone = async (fullNames: readonly string[]): Promise<Pick<Walk, "codes" | "records">> => {
    const all = await Promise.all(fullNames.map((full) => ask(full, "Both")))
    const codes: number[] = []
    for (const answer of all) {
      if (answer.kind === "Err") {
        codes.push(refusalCode(conversation, answer.value))
        continue
      }
      codes.push(absenceCode(lifeOf(answer.value)?.code ?? responseCode.noError))
      const records = recordsOf(answer.value)
      if (records.length > 0) return { codes, records }
    }
    return { codes, records: [] }
  }

  return {
    async walk(name, fullNames) {
      const connection = interruptions
      const walk = (codes: number[], records: LookupRecord[], milliseconds = 0): Walk => ({
        codes,
        records,
        until: milliseconds > 0 ? believed.untilAfter(milliseconds) : 0,
        isCurrent: () => connection === interruptions,
      })
      try {
        const answer = await ask(name, "Both", walkProtocol)
        if (answer.kind === "Err") {
          if (isUnanswered(answer.value)) return undefined
          const code = refusalCode(conversation, answer.value)
          if (code === responseCode.serverFailure) return { code }
          return walk([...fullNames.slice(1).map(() => responseCode.noSuchName), code], [])
        }
        const said = walkOf(answer.value)
        if (said) return walk(said.codes.map(absenceCode), answer.value.slice(0, -1), said.milliseconds)
        const owner = ownerOf(answer.value)?.toLowerCase()
        const found = fullNames.findIndex((full) => withoutDot(full).toLowerCase() === owner)
        if (found >= 0)
          return walk([...Array<number>(found).fill(responseCode.noSuchName), responseCode.noError], answer.value)
        // The records are an alias's, of one of the names.
        const { codes, records } = await walkAlone(fullNames)
        return walk(codes, records)
      } catch {
        return { code: responseCode.serverFailure }
      }
    },
    async remote(name, family) {
      // The oldest form of the question is about IPv4 only.
      if (family === 6 && !conversation.supports("addrInfoV2")) return { ips: [] }
      const key = `${family} ${name.toLowerCase()}`
      const known = believed.get(key)
      if (known) return known
      try {
        const answer = await ask(name, family === 4 ? "Ipv4Only" : "Ipv6Only")
        if (answer.kind === "Err") return { code: refusalCode(conversation, answer.value) }
        const life = lifeOf(answer.value)
        const records = recordsOf(answer.value)
        if (!life) return resultOf(records, family)
        // What holds for a time is kept here: in the program's hands, too, it would grow older than it may.
        const result = records.length === 0 ? { code: absenceCode(life.code) } : resultOf(records, family, 0)
        if (records.length <= maxKeptAddresses)
          believed.keep(key, { ...result, until: believed.untilAfter(life.milliseconds) })
        return result
      } catch {
        return { code: responseCode.serverFailure }
      }
    },
    async local(name, family) {
      try {
        return { ips: (await lookupHere(name, { family, all: true })).map(({ address }) => address) }
      } catch (thrown) {
        const code = (thrown as { code?: string }).code
        return {
          code: code === "ENOTFOUND" || code === "ENODATA" ? responseCode.noSuchName : responseCode.serverFailure,
        }
      }
    },
  }
}

export const hasAddresses = (result: LookupResult) => "ips" in result && result.ips.length > 0

/** What records say of one family: there is such a name, whether it has such addresses or not. */
export function resultOf(records: readonly LookupRecord[], family: Family, ttlSeconds?: number): LookupResult {
  const ips = [...new Set(records.map(({ ip }) => ip).filter((ip) => ip.includes(":") === (family === 6)))]
  if (ips.length === 0) return { code: responseCode.noError }
  const owner = ownerOf(records)
  return { ips, ...(ttlSeconds === undefined ? {} : { ttlSeconds }), ...(owner === undefined ? {} : { owner }) }
}

/** Without what podside's agent adds. */
const recordsOf = (records: LookupRecord[]) => (lifeOf(records) ? records.slice(0, -1) : records)

const withoutDot = (name: string) => name.replace(/\.$/, "")

/** The one name all records are of, without the last dot. */
function ownerOf([first, ...others]: readonly LookupRecord[]): string | undefined {
  return first && others.every(({ name }) => name === first.name) ? withoutDot(first.name) : undefined
}

/** No name server said anything: of names it was not needed for, nothing is known. */
function isUnanswered(error: ResponseError): boolean {
  return error.kind === "DnsLookup" && ["Timeout", "NoConnections"].includes(error.value.kind.kind)
}

function refusalCode(conversation: Conversation, error: ResponseError): number {
  if (error.kind !== "DnsLookup") return responseCode.serverFailure
  const { kind } = error.value
  if (kind.kind === "NoRecordsFound") return absenceCode(kind.value)
  if (kind.kind === "PermissionDenied") {
    conversation.refused(
      new AppError("dns-forbidden", "The agent may not read the pod's name resolution", {
        next: "Set agent.privileged.",
      }),
    )
  }
  return responseCode.serverFailure
}

/** What a program is told when there is no record. */
function absenceCode(code: number): number {
  return code === responseCode.noError || code === responseCode.noSuchName ? code : responseCode.serverFailure
}
