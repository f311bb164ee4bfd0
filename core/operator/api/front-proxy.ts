import { X509Certificate } from "node:crypto"
import type { TLSSocket } from "node:tls"
import * as v from "valibot"
import { AppError } from "../../errors.ts"
import { allFromPem } from "../credentials/pem.ts"

/*
 * Who may state an identity: the API server, known by a client certificate from the request-header CA. Everything needed
 * stands in ConfigMap kube-system/extension-apiserver-authentication, which changes when the CA rotates.
 */

export interface FrontProxy {
  authorities: readonly X509Certificate[]
  /** Common names that count; empty means any. */
  allowedNames: readonly string[]
  /** Lower-case header names, in order of preference. */
  userHeaders: readonly string[]
  uidHeaders: readonly string[]
  groupHeaders: readonly string[]
  extraPrefixes: readonly string[]
}

const names = v.optional(
  v.pipe(
    v.string(),
    v.transform((text): unknown => JSON.parse(text)),
    v.array(v.string()),
  ),
)

const authenticationData = v.object({
  "requestheader-client-ca-file": v.string(),
  "requestheader-allowed-names": names,
  "requestheader-username-headers": names,
  "requestheader-uid-headers": names,
  "requestheader-group-headers": names,
  "requestheader-extra-headers-prefix": names,
})

/** Extended key usage "client authentication". */
const clientAuthentication = "1.3.6.1.5.5.7.3.2"

/** Reads the `data` of the ConfigMap. @throws AppError "front-proxy-config" */
export function readFrontProxy(data: unknown): FrontProxy {
  try {
    const read = v.parse(authenticationData, data)
    const pem = read["requestheader-client-ca-file"]
    const authorities = allFromPem(pem, "CERTIFICATE").map((bytes) => new X509Certificate(Buffer.from(bytes)))
    if (authorities.length === 0) throw new Error("the CA file holds no certificate")
    const lower = (list: string[] | undefined, otherwise: string[]) =>
      (list?.length ? list : otherwise).map((name) => name.toLowerCase())
    return {
      authorities,
      allowedNames: read["requestheader-allowed-names"] ?? [],
      userHeaders: lower(read["requestheader-username-headers"], ["x-remote-user"]),
      uidHeaders: lower(read["requestheader-uid-headers"], ["x-remote-uid"]),
      groupHeaders: lower(read["requestheader-group-headers"], ["x-remote-group"]),
      extraPrefixes: lower(read["requestheader-extra-headers-prefix"], ["x-remote-extra-"]),
    }
  } catch (cause) {
    throw new AppError("front-proxy-config", "The API server's request-header settings cannot be read", {
      cause,
      next: "Look at ConfigMap extension-apiserver-authentication in kube-system; its request-header keys must be set.",
    })
  }
}

/**
 * Undefined when the socket's client certificate makes its peer the API server, else why not.
 * The handshake has proved possession of the key; the chain is checked here, so that a rotated CA counts at once.
 */
export function refusedPeer(socket: TLSSocket, proxy: FrontProxy, now = Date.now()): string | undefined {
  const peer = socket.getPeerCertificate(false)
  if (!peer?.raw) return "no client certificate was presented"
  if (wasAccepted(peer.raw, proxy, now)) return undefined
  const certificate = new X509Certificate(peer.raw)
  if (Date.parse(certificate.validTo) < now || Date.parse(certificate.validFrom) > now) {
    return "the client certificate is not valid now"
  }
  const issuers = issuersUpTo(proxy.authorities, certificate, sentAlong(socket), now)
  if (!issuers) return "the client certificate is not from the request-header CA"
  if (certificate.keyUsage !== undefined && !certificate.keyUsage.includes(clientAuthentication)) {
    return "the client certificate is not for client authentication"
  }
  const name = commonName(certificate)
  if (proxy.allowedNames.length > 0 && !proxy.allowedNames.includes(name)) {
    return "the client certificate's name is not allowed"
  }
  const until = Math.min(...[certificate, ...issuers].map(({ validTo }) => Date.parse(validTo)))
  accepted = { raw: peer.raw, proxy, since: now, until }
  return undefined
}

/** The API server has one certificate on all its connections, and a signature takes longer to check than most answers to make. */
let accepted: { raw: Buffer; proxy: FrontProxy; since: number; until: number } | undefined

/** Accepted with the settings of this moment, and not expired since. */
function wasAccepted(raw: Buffer, proxy: FrontProxy, now: number): boolean {
  if (accepted?.proxy !== proxy || now < accepted.since || now > accepted.until) return false
  return accepted.raw.equals(raw)
}

/** Longest chain followed between the client's certificate and a trusted one. */
const maxIntermediates = 4

/** Certificates the peer sent behind its own. What they are worth is for who looks at them. */
function sentAlong(socket: TLSSocket): X509Certificate[] {
  const sent: X509Certificate[] = []
  let next = socket.getPeerCertificate(true).issuerCertificate
  while (next?.raw && sent.length < maxIntermediates && !sent.at(-1)?.raw.equals(next.raw)) {
    sent.push(new X509Certificate(next.raw))
    next = next.issuerCertificate
  }
  return sent
}

/** Who issued a certificate, and who issued those, up to a trusted one; undefined when there is no such chain. */
function issuersUpTo(
  trusted: readonly X509Certificate[],
  certificate: X509Certificate,
  sent: readonly X509Certificate[],
  now: number,
): X509Certificate[] | undefined {
  const isIssuer = (authority: X509Certificate) => issuedBy(certificate, authority, now)
  const anchor = trusted.find(isIssuer)
  if (anchor) return [anchor]
  const intermediate = sent.find(isIssuer)
  const others = sent.filter((one) => one !== intermediate)
  const above = intermediate && issuersUpTo(trusted, intermediate, others, now)
  return above && [intermediate, ...above]
}

function issuedBy(certificate: X509Certificate, authority: X509Certificate, now: number): boolean {
  return (
    authority.ca &&
    Date.parse(authority.validFrom) <= now &&
    Date.parse(authority.validTo) >= now &&
    certificate.checkIssued(authority) &&
    certificate.verify(authority.publicKey)
  )
}

function commonName(certificate: X509Certificate): string {
  return /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ""
}
