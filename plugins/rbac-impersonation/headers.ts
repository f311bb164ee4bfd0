import type { Identity } from "../../core/session.ts"

/** Header names cannot hold every key; Kubernetes decodes percent-encoding. Characters of RFC 7230 tokens stand as they are. */
const notToken = /[^!#$&'*+.^_`|~0-9A-Za-z-]/g

/**
 * `Impersonate-*` headers for exactly this identity: nothing added, nothing joined, nothing left out. An identity always
 * has a user; groups of the API server's own making (system:authenticated) travel like any other.
 */
export function impersonationHeaders({ user, uid, groups, extra }: Identity): Record<string, readonly string[]> {
  const headers: Record<string, readonly string[]> = { "Impersonate-User": [user] }
  if (uid !== undefined) headers["Impersonate-Uid"] = [uid]
  if (groups.length > 0) headers["Impersonate-Group"] = groups
  for (const [key, values] of Object.entries(extra)) {
    if (values.length > 0) headers[`Impersonate-Extra-${encodeKey(key)}`] = values
  }
  return headers
}

function encodeKey(key: string): string {
  return key.replace(notToken, (character) =>
    [...new TextEncoder().encode(character)]
      .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`)
      .join(""),
  )
}
