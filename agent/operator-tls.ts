import { X509Certificate } from "node:crypto"
import type { TLSOptions } from "bun"
import { AppError } from "../core/errors.ts"

/**
 * What the agent needs to check its operator. The operator dials, and then the agent is the TLS client on that
 * connection: it trusts nothing but the given certificate and expects the certificate's first alternative name.
 * @throws AppError "bad-operator-certificate"
 */
export function operatorTls(pem: string): TLSOptions {
  const block = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(pem)?.[0]
  if (!block) throw badCertificate("its PEM holds no certificate")
  const name = firstName(block)
  if (!name) throw badCertificate("it has no alternative name (DNS or IP address)")
  return { ca: block, serverName: name, rejectUnauthorized: true }
}

/** `subjectAltName` reads "DNS:a.example, IP Address:10.0.0.1". */
function firstName(certificate: string): string | undefined {
  try {
    const names = new X509Certificate(certificate).subjectAltName ?? ""
    return /(?:^|, )(?:DNS|IP Address):([^,\s"]+)/.exec(names)?.[1]
  } catch (cause) {
    throw badCertificate("it cannot be read", cause)
  }
}

function badCertificate(reason: string, cause?: unknown): AppError {
  return new AppError("bad-operator-certificate", `The operator's certificate is no use: ${reason}`, {
    cause,
    next: "Give a PEM certificate with a subject alternative name in AGENT_OPERATOR_CERT_ENV.",
  })
}
