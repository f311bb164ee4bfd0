import { type DirectionFilter, inSubnet } from "../outgoing/address-filter.ts"
import { isIpText } from "./message.ts"

/** Who resolves a name, and as which names this machine is to try it, in their order. */
export type NamePlace = { place: "remote" } | { place: "local"; as: readonly string[] }

const remote: NamePlace = { place: "remote" }

/**
 * Where a full name is resolved. `said`: what a program may have said that its resolver asks for it; entries are about that as well.
 * This machine does not know the pod's search list: there it is what was said that leads anywhere.
 */
export function placeOfName(filter: DirectionFilter | undefined, name: string, said: readonly string[]): NamePlace {
  if (!filter) return remote
  const matching = [name, ...said].find((each) => matches(filter, each))
  if (filter.matching === "remote") return matching === undefined ? { place: "local", as: asHere(name, said) } : remote
  return matching === undefined ? remote : { place: "local", as: [matching] }
}

/** A service's full name may be what was said; what leads from a name with dots to the pod's domains never is. */
function asHere(name: string, [likeliest]: readonly string[]): string[] {
  if (likeliest === undefined) return [name]
  return likeliest.includes(".") ? [likeliest] : [likeliest, name]
}

/** Is every name this machine's? */
export function isAllLocal({ matching, entries }: DirectionFilter): boolean {
  if (matching === "remote") return entries.length === 0
  return entries.some(({ address, port }) => address.kind === "any" && port === 0)
}

/** Ports cannot be known here: DNS is asked for names only. */
function matches({ entries }: DirectionFilter, name: string): boolean {
  return entries.some(({ address, port }) => port === 0 && addressMatches(address, name))
}

function addressMatches(address: DirectionFilter["entries"][number]["address"], name: string): boolean {
  if (address.kind === "any") return true
  if (address.kind === "name") return address.name === name
  return isIpText(name) && inSubnet(name, address.ip, address.prefix)
}
