import { X509Certificate } from "node:crypto"
import type { TrafficTransport } from "../../../protocol/index.ts"
import type { LocalTls } from "../../local-tls.ts"
import type { TlsDelivery } from "./options.ts"

/** TLS towards the program for traffic whose TLS the agent ended; undefined: plain. */
export function deliveryTls(transport: TrafficTransport, delivery: TlsDelivery): LocalTls | undefined {
  if (transport.kind === "Tcp" || delivery.protocol === "tcp") return undefined
  const { alpnProtocol, serverName } = transport.value
  const exact = delivery.certificate === undefined ? undefined : new X509Certificate(delivery.certificate)
  return {
    options: {
      serverName: delivery.serverName ?? (exact && firstName(exact)) ?? serverName ?? "localhost",
      // The program's own certificate is for the cluster's names, made by whoever; only a configured one is insisted on.
      rejectUnauthorized: delivery.trustRoots !== undefined,
      ...(delivery.trustRoots ? { ca: [...delivery.trustRoots] } : {}),
      ...(alpnProtocol ? { ALPNProtocols: Buffer.concat([Buffer.of(alpnProtocol.length), alpnProtocol]) } : {}),
    },
    ...(exact ? { exactCertificate: exact.raw } : {}),
  }
}

/** `subjectAltName` reads "DNS:a.example, IP Address:10.0.0.1". */
function firstName({ subjectAltName }: X509Certificate): string | undefined {
  return /(?:^|, )(?:DNS|IP Address):([^,\s"]+)/.exec(subjectAltName ?? "")?.[1]
}
