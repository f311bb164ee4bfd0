import { lookup as lookupHere } from "node:dns/promises"
import { BelievedAnswers, type Perishable } from "../../../believed.ts"
import { AppError } from "../../../errors.ts"
import { type GetAddrInfoResponse, lifeOf, lifeProtocol, type ResponseError } from "../../../protocol/index.ts"
import { AnswerQueue } from "../../answer-queue.ts"
import type { Conversation } from "../../conversation.ts"
import { responseCode } from "./message.ts"

/** Answers of the pod kept; a program asks for a few dozen names. With this many addresses one is not kept. */
const maxKept = 512
const maxKeptAddresses = 32

export type Family = 4 | 6

/**
 * A name's addresses of one family, or the DNS response code that says why there are none. `ttlSeconds`: how long the program may keep
 * them, where that is known.
 */
export type LookupResult = { ips: string[]; ttlSeconds?: number } | { code: number }

export interface Names {
  /** Asks the pod. Never rejects. */
  remote(name: string, family: Family): Promise<LookupResult>
  /** Asks this machine. Never rejects. */
  local(name: string, family: Family): Promise<LookupResult>
}

export function createNames(conversation: Conversation): Names {
  const believed = new BelievedAnswers<LookupResult & Perishable>(maxKept)
  const answers = new AnswerQueue<GetAddrInfoResponse>()
  conversation.on("GetAddrInfoResponse", (answer) => {
    if (!answers.answer(answer)) conversation.broken("a name's address")
  })
  conversation.onInterrupted((error) => {
    believed.clear()
    answers.failWaiting(error)
  })
  conversation.onEnd((error) => answers.fail(error))

  const ask = (name: string, family: Family): Promise<GetAddrInfoResponse> => {
    const answered = answers.next()
    if (conversation.supports("addrInfoV2")) {
      const value = {
        node: name,
        servicePort: 0,
        family: { kind: family === 4 ? "Ipv4Only" : "Ipv6Only" } as const,
        socktype: { kind: "Stream" } as const,
        flags: 0,
        protocol: lifeProtocol,
      }
      conversation.send({ kind: "GetAddrInfoRequestV2", value })
    } else {
      conversation.send({ kind: "GetAddrInfoRequest", value: { node: name } })
    }
    return answered
  }

  return {
    async remote(name, family) {
      // The oldest form of the question is about IPv4 only.
      if (family === 6 && !conversation.supports("addrInfoV2")) return { ips: [] }
      const key = `${family} ${name.toLowerCase()}`
      const known = believed.get(key)
      if (known) return known
      try {
        const answer = await ask(name, family)
        if (answer.kind === "Err") return { code: refusalCode(conversation, answer.value) }
        const life = lifeOf(answer.value)
        const records = life ? answer.value.slice(0, -1) : answer.value
        const ips = [...new Set(records.map(({ ip }) => ip).filter((ip) => ip.includes(":") === (family === 6)))]
        if (!life) return { ips }
        // What holds for a time is kept here: in the program's hands, too, it would grow older than it may.
        const result = ips.length === 0 ? { code: absenceCode(life.code) } : { ips, ttlSeconds: 0 }
        if (ips.length <= maxKeptAddresses)
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
