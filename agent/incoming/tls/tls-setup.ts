import type { TLSOptions } from "bun"
import type { StealTlsPort } from "./steal-tls-config.ts"
import type { TargetPem } from "./target-pem.ts"

/** What of callers' certificates is asked for. */
export type CallerCheck = "none" | "any" | "any-or-none" | "trusted" | "trusted-or-none"

/** One port's entry with its files read. */
export interface TlsSetup {
  /** Towards callers, without ALPN. */
  server: TLSOptions
  callers: CallerCheck
  /** No authority is known: any certificate of a caller is refused. */
  trustsNobody: boolean
  /** In order of preference. */
  alpnProtocols: readonly string[]
  /** Towards the application, without server name and ALPN. */
  client: TLSOptions
}

/** @throws Error that says which file or setting cannot be used */
export function readTlsSetup(
  { agentAsServer, agentAsClient }: StealTlsPort,
  files: TargetPem,
  onSkipped: (reason: string) => void,
): TlsSetup {
  const callers = callerCheck(agentAsServer.verification ?? undefined)
  const callerRoots = callers.startsWith("trusted")
    ? files.roots(agentAsServer.verification!.trustRoots, onSkipped)
    : []
  if (callers === "trusted" && callerRoots.length === 0) throw noRoot("agentAsServer")
  const { acceptAnyCert = false, trustRoots = [] } = agentAsClient.verification
  const roots = acceptAnyCert ? [] : files.roots(trustRoots, onSkipped)
  if (!acceptAnyCert && roots.length === 0) throw noRoot("agentAsClient")
  return {
    server: {
      ...files.keyPair(agentAsServer.authentication),
      ...(callers === "none" ? {} : { requestCert: true, rejectUnauthorized: callers === "trusted" }),
      ...(callerRoots.length > 0 ? { ca: callerRoots } : {}),
    },
    callers,
    trustsNobody: callers === "trusted-or-none" && callerRoots.length === 0,
    alpnProtocols: agentAsServer.alpnProtocols,
    client: {
      ...(agentAsClient.authentication ? files.keyPair(agentAsClient.authentication) : {}),
      ...(acceptAnyCert ? { rejectUnauthorized: false } : { ca: roots, rejectUnauthorized: true }),
    },
  }
}

function callerCheck(verification: StealTlsPort["agentAsServer"]["verification"]): CallerCheck {
  if (!verification) return "none"
  const kind = verification.acceptAnyCert ? "any" : "trusted"
  return verification.allowAnonymous ? `${kind}-or-none` : kind
}

const noRoot = (side: string) =>
  new Error(`no good trust root certificate was found (${side}.verification.trustRoots), and acceptAnyCert is off`)

/** Names as ALPN has them on the wire; undefined for none. */
export function alpnWire(names: readonly string[]): Buffer | undefined {
  if (names.length === 0) return undefined
  return Buffer.concat(
    names.map((name) => {
      const bytes = Buffer.from(name, "latin1")
      return Buffer.concat([Buffer.of(bytes.length), bytes])
    }),
  )
}
