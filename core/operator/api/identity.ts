import type { Identity } from "../../session.ts"
import type { FrontProxy } from "./front-proxy.ts"

/** Header values read for one identity, in characters together. kube-apiserver itself allows about 1 MiB of headers. */
const maxIdentityLength = 256 * 1024

/**
 * The identity the API server states. `rawHeaders` alternates names and values as received, so that duplicates show.
 * @returns a text that says why there is none
 */
export function readIdentity(rawHeaders: readonly string[], proxy: FrontProxy): Identity | string {
  const all = new Map<string, string[]>()
  let length = 0
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    const values = all.get(name) ?? []
    values.push(rawHeaders[i + 1]!)
    all.set(name, values)
  }
  const isIdentity = (name: string) =>
    [proxy.userHeaders, proxy.uidHeaders, proxy.groupHeaders].some((list) => list.includes(name)) ||
    proxy.extraPrefixes.some((prefix) => name.startsWith(prefix))
  for (const named of (all.get("connection") ?? []).flatMap((value) => value.split(","))) {
    // A proxy on the way would drop such a header, and with it a group that restricts.
    if (isIdentity(named.trim().toLowerCase())) return "an identity header is named in Connection"
  }

  const single = (names: readonly string[]) => names.map((name) => all.get(name)).find((values) => values !== undefined)
  const users = single(proxy.userHeaders)
  const uids = single(proxy.uidHeaders) ?? []
  if (!users) return "no user is stated"
  if (users.length > 1 || uids.length > 1) return "the user is stated more than once"
  const user = fromLatin1(users[0]!)
  if (user === "") return "the user is empty"

  const groups = proxy.groupHeaders.flatMap((name) => all.get(name) ?? []).map(fromLatin1)
  const extra: Record<string, string[]> = Object.create(null)
  for (const [name, values] of all) {
    length += isIdentity(name) ? name.length + values.reduce((sum, value) => sum + value.length, 0) : 0
    const prefix = proxy.extraPrefixes.find((candidate) => name.startsWith(candidate))
    if (prefix === undefined) continue
    const key = decodeKey(name.slice(prefix.length))
    extra[key] = [...(extra[key] ?? []), ...values.map(fromLatin1)]
  }
  if (length > maxIdentityLength) return "the identity headers are too long"
  return { user, ...(uids[0] ? { uid: fromLatin1(uids[0]) } : {}), groups, extra }
}

/** Percent-encoded where a header name could not hold it; what does not decode is taken as it stands, as Kubernetes does. */
function decodeKey(encoded: string): string {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return encoded
  }
}

/** Header values are bytes; the parser shows each as one character. Names beyond ASCII are UTF-8. */
function fromLatin1(value: string): string {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code > 0xff) return value
    if (code > 0x7f) return decodeUtf8(value)
  }
  return value
}

function decodeUtf8(value: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(value, "latin1"))
  } catch {
    return value
  }
}
