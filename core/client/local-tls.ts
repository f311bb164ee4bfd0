import type { TLSOptions } from "bun"

/** TLS towards a program of this machine. */
export interface LocalTls {
  options: TLSOptions
  /** The one certificate (DER) the program must show; absent: `options` say whom to trust. */
  exactCertificate?: Buffer
}

/** Why the certificate a program has shown will not do; undefined: it will. */
export function certificateProblem(tls: LocalTls, shown: () => Buffer): Error | undefined {
  if (!tls.exactCertificate?.compare(shown())) return undefined
  return new Error("the program does not show the certificate of feature.network.incoming.tls_delivery.server_cert")
}
