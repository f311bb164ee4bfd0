import * as v from "valibot"

/*
 * MIRRORD_AGENT_STEAL_TLS_CONFIG: a JSON array in base64, one entry per port whose TLS the agent ends. Paths are of the
 * target's file system.
 */

const path = v.pipe(v.string(), v.minLength(1))
/** ALPN names are 1 to 255 bytes (RFC 7301). */
const alpnName = v.pipe(v.string(), v.minBytes(1), v.maxBytes(255))
const keyPair = v.object({ certPem: path, keyPem: path })
const flag = v.nullish(v.boolean(), false)
const roots = v.nullish(v.array(path), [])

const entry = v.object({
  port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535)),
  agentAsServer: v.object({
    authentication: keyPair,
    /** In order of preference; empty: no ALPN. */
    alpnProtocols: v.nullish(v.array(alpnName), []),
    /** Absent: callers are not asked for a certificate. */
    verification: v.nullish(v.object({ allowAnonymous: flag, acceptAnyCert: flag, trustRoots: roots })),
  }),
  agentAsClient: v.object({
    authentication: v.nullish(keyPair),
    verification: v.nullish(v.object({ acceptAnyCert: flag, trustRoots: roots }), {}),
  }),
})

export type StealTlsPort = v.InferOutput<typeof entry>
export type KeyPairPaths = v.InferOutput<typeof keyPair>

/** @throws Error that says what is wrong with the text */
export function parseStealTls(base64: string): StealTlsPort[] {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) throw new Error("not base64")
  const parsed = v.safeParse(v.array(entry), JSON.parse(Buffer.from(base64, "base64").toString()))
  if (parsed.success) return parsed.output
  const [issue] = parsed.issues
  throw new Error(`${v.getDotPath(issue) ?? "the list"}: ${issue.message}`)
}
