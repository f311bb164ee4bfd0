import { lookup as lookupHere } from "node:dns/promises"
import { AppError } from "../../../errors.ts"
import type { GetAddrInfoResponse, ResponseError } from "../../../protocol/index.ts"
import { AnswerQueue } from "../../answer-queue.ts"
import type { Conversation } from "../../conversation.ts"
import { responseCode } from "./message.ts"

export type Family = 4 | 6

/** A name's addresses of one family, or the DNS response code that says why there are none. */
export type LookupResult = { ips: string[] } | { code: number }

export interface Names {
  /** Asks the pod. Never rejects. */
  remote(name: string, family: Family): Promise<LookupResult>
  /** Asks this machine. Never rejects. */
  local(name: string, family: Family): Promise<LookupResult>
}

export function createNames(conversation: Conversation): Names {
  const answers = new AnswerQueue<GetAddrInfoResponse>()
  conversation.on("GetAddrInfoResponse", (answer) => {
    if (!answers.answer(answer)) conversation.broken("a name's address")
  })
  conversation.onInterrupted((error) => answers.failWaiting(error))
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
        protocol: 0,
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
      try {
        const answer = await ask(name, family)
        if (answer.kind === "Err") return { code: refusalCode(conversation, answer.value) }
        const ips = answer.value.map(({ ip }) => ip).filter((ip) => ip.includes(":") === (family === 6))
        return { ips: [...new Set(ips)] }
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
  if (kind.kind === "NoRecordsFound") {
    return kind.value === responseCode.noError || kind.value === responseCode.noSuchName
      ? kind.value
      : responseCode.serverFailure
  }
  if (kind.kind === "PermissionDenied") {
    conversation.refused(
      new AppError("dns-forbidden", "The agent may not read the pod's name resolution", {
        next: "Set agent.privileged.",
      }),
    )
  }
  return responseCode.serverFailure
}
