import type { FilterRequest } from "./filter/filter.ts"
import type { FilteredSubscription } from "./port.ts"

/** Path, whole URI, or `*`. */
const usualTarget = /^(?:\/|\*$|[A-Za-z][A-Za-z0-9+.-]*:\/\/[A-Za-z0-9\-._~%!$&'()*+,;=:@[\]]+(?:[/?]|$))/

export type Choice = FilteredSubscription | undefined

// What the protocol's receivers refuse; such a request is not for clients, but the application may well want it.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes a URI may not hold
const notForClients = /[\x00-\x20"<>\\^`#\x7f-\uffff]/

/**
 * Who gets a request: the first subscription that matches; the others that match are told. Undefined: the application.
 */
export function chooseSubscription(
  subscriptions: readonly FilteredSubscription[],
  request: FilterRequest,
  isUpgrade: boolean,
): Choice {
  const matching = subscriptions.filter(({ filter }) => filter.matches(request))
  const [winner, ...losers] = matching
  if (!winner || notForClients.test(request.target) || !usualTarget.test(request.target)) return undefined
  for (const { channel } of losers) {
    channel.client.tell(
      "Warn",
      `another user's filter took a request that matches yours: ${request.method} ${request.target}`,
    )
  }
  if (isUpgrade && !winner.channel.client.supports("httpUpgrade")) {
    winner.channel.client.tell("Error", "a request with an upgrade was not stolen: the client is too old for it")
    return undefined
  }
  return winner
}
