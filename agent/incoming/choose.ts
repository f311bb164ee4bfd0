import { isForClients } from "./client-uri.ts"
import type { FilterRequest } from "./filter/filter.ts"
import type { FilteredSubscription } from "./port.ts"

export type Choice = FilteredSubscription | undefined

/**
 * Who gets a request: the first subscription that matches; the others that match are told. Undefined: the application.
 */
export function chooseSubscription(
  subscriptions: readonly FilteredSubscription[],
  request: FilterRequest,
  needs: { upgrade: boolean; tls: boolean },
): Choice {
  const matching = subscriptions.filter(({ filter }) => filter.matches(request))
  const [winner, ...losers] = matching
  if (!winner || !isForClients(request.target)) return undefined
  for (const { channel } of losers) {
    channel.client.tell(
      "Warn",
      `another user's filter took a request that matches yours: ${request.method} ${request.target}`,
    )
  }
  const { client } = winner.channel
  if (needs.upgrade && !client.supports("httpUpgrade")) {
    client.tell("Error", "a request with an upgrade was not stolen: the client is too old for it")
    return undefined
  }
  if (needs.tls && !client.supports("httpChunkedRequestV2")) {
    client.tell("Error", "a request that came over TLS was not stolen: the client is too old for it")
    return undefined
  }
  return winner
}
