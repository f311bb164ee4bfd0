import { type Denied, policyName } from "../../host.ts"
import type { HttpFilter, LayerTcp, LayerTcpSteal, ResponseError, StealType } from "../../protocol/index.ts"
import { supports } from "../../protocol/index.ts"

export type Mode = "mirror" | "steal"

/** A port the client wants to hear of. */
export interface Subscription {
  mode: Mode
  port: number
  filter?: HttpFilter
  /** The request as it was, for agents that come later and for refusals, which echo it. */
  request: { kind: "Tcp"; value: LayerTcp } | { kind: "TcpSteal"; value: LayerTcpSteal & { kind: "PortSubscribe" } }
}

export function mirrorSubscription(message: LayerTcp): Subscription | undefined {
  const request = { kind: "Tcp", value: message } as const
  if (message.kind === "PortSubscribe") return { mode: "mirror", port: message.value, request }
  if (message.kind !== "PortSubscribeFilteredHttp") return undefined
  const [port, filter] = message.value
  return { mode: "mirror", port, filter, request }
}

export function stealSubscription(message: LayerTcpSteal): Subscription | undefined {
  if (message.kind !== "PortSubscribe") return undefined
  const type = message.value
  const request = { kind: "TcpSteal", value: message } as const
  if (type.kind === "All") return { mode: "steal", port: type.value, request }
  const [port, filter] = type.value
  return {
    mode: "steal",
    port,
    filter: typeof filter === "string" ? { kind: "Header", value: filter } : filter,
    request,
  }
}

/** The answer that a plugin's denial becomes; the client builds its sentence from it and ends the program. */
export function forbiddenSubscription(
  { request, port }: Subscription,
  denial: Pick<Denied, "plugin" | "policy" | "reason">,
  version: string,
): ResponseError {
  const blockedAction =
    request.kind === "TcpSteal"
      ? { kind: "Steal" as const, value: request.value.value as StealType }
      : { kind: "Mirror" as const, value: port }
  const forbidden = { blockedAction, policyName: policyName(denial) }
  return supports(version, "forbiddenWithReason")
    ? { kind: "ForbiddenWithReason", value: { ...forbidden, reason: denial.reason } }
    : { kind: "Forbidden", value: forbidden }
}

/** One line for tables, logs and the audit. */
export function filterText(filter: HttpFilter | undefined): string | undefined {
  if (!filter) return undefined
  switch (filter.kind) {
    case "Header":
      return `header ${filter.value}`
    case "Path":
      return `path ${filter.value}`
    case "HeaderJq":
      return `header jq ${filter.value}`
    case "Method":
      return `method ${filter.value.kind === "Other" ? filter.value.value : filter.value.kind.toUpperCase()}`
    case "Body":
      return `body ${filter.value.value.query} ${filter.value.value.matches}`
    case "Composite": {
      const { all, filters } = filter.value
      return `${all ? "all" : "any"} of (${filters.map((one) => filterText(one)).join("; ")})`
    }
  }
}
