import { createPublicKey, X509Certificate } from "node:crypto"
import type { Kube } from "../../kube/kube.ts"
import type { OwnerReference } from "../../kube/objects.ts"
import {
  anHourAgo,
  basicConstraints,
  dnsNames,
  extendedKeyUsage,
  issueAuthority,
  issueCertificate,
  keyUsage,
  type Name,
} from "./certificate.ts"
import { newPrivateKey, privateKeyFromPem, privateKeyToPem, spkiOf } from "./keys.ts"
import { toPem } from "./pem.ts"
import { sharedSecret } from "./secret-state.ts"
import type { UserAuthorityKeys } from "./user-certificates.ts"

/*
 * The operator's keys, shared by all replicas through Secrets of its namespace:
 *   podside-operator-users    signs client certificates
 *   podside-operator-agents   what agents know their operator by
 *   podside-operator-serving  a CA, and the certificate of the API it signs; both renewed here
 */

export interface KeyPair {
  /** PEM. */
  cert: string
  key: string
}

interface Place {
  kube: Kube
  namespace: string
  labels: Record<string, string>
  /** Everything but the users' CA goes with it: that one makes certificates good which are kept elsewhere. */
  owner?: OwnerReference
}

const dayMs = 86_400_000
/** Agents live minutes, their operator's name is fixed: nothing is gained by renewing this one. */
const agentCertificateDays = 3650
const authorityDays = 3650
const servingDays = 90
/** Renewed when less than this is left, so that a replica that is down for weeks is still fine. */
const servingRenewalDays = 30

/**
 * Keys of the CA for client certificates. To replace the key without locking out CI jobs, whose certificates nobody renews,
 * move the Secret's `key` to `former` (several stand one after the other) and remove it: a new one is made.
 * @throws KubeError, and what node:crypto throws for what is no key
 */
export async function userAuthorityKeys({ kube, namespace, labels }: Place): Promise<UserAuthorityKeys> {
  const place = { namespace, name: "podside-operator-users", labels }
  let former = ""
  const { key } = await sharedSecret<{ key: string; former?: string }>(
    kube,
    place,
    (values) => {
      former = values.former ?? ""
      return values.key === undefined ? undefined : { key: values.key }
    },
    () => ({ key: privateKeyToPem(newPrivateKey("ed25519")) }),
  )
  const pems = former.match(/-----BEGIN [A-Z ]+-----[^-]+-----END [A-Z ]+-----/g) ?? []
  return { current: privateKeyFromPem(key), former: pems.map((pem) => createPublicKey(pem)) }
}

/** A self-signed certificate: agents trust nothing else, and expect its name. */
export function agentKeyPair({ kube, namespace, labels, owner }: Place): Promise<KeyPair> {
  const place = { namespace, name: "podside-operator-agents", labels, owner }
  return sharedSecret<KeyPair>(kube, place, wholePair, () => {
    const key = newPrivateKey("ecdsa")
    const name: Name = { commonName: "podside-operator" }
    const certificate = issueCertificate({
      issuer: name,
      subject: name,
      spki: spkiOf(key),
      notBefore: anHourAgo(),
      notAfter: new Date(Date.now() + agentCertificateDays * dayMs),
      extensions: [
        basicConstraints(false),
        keyUsage("sign-data"),
        extendedKeyUsage("server"),
        dnsNames(["podside-operator"]),
      ],
      signer: key,
    })
    return { cert: toPem(certificate, "CERTIFICATE"), key: privateKeyToPem(key) }
  })
}

export interface ServingKeys extends KeyPair {
  /** PEM of the CA, for the APIService. */
  authority: string
}

const authorityName = "podside-operator serving"

/** The certificate of the API, renewed when it is due or names something else. */
export async function servingKeys(
  { kube, namespace, labels, owner }: Place,
  names: readonly string[],
): Promise<ServingKeys> {
  const place = { namespace, name: "podside-operator-serving", labels, owner }
  let kept: { authority: string; authorityKey: string } | undefined
  const values = await sharedSecret<ServingKeys & { authorityKey: string }>(
    kube,
    place,
    ({ cert, key, authority, authorityKey }) => {
      if (authority && authorityKey && daysLeft(authority) > servingRenewalDays) kept = { authority, authorityKey }
      if (!kept || !cert || !key || daysLeft(cert) <= servingRenewalDays || !namesAll(cert, names)) return undefined
      return { cert, key, ...kept }
    },
    () => newServingKeys(kept ?? newAuthority(), names),
  )
  return { cert: values.cert, key: values.key, authority: values.authority }
}

function newAuthority() {
  const key = newPrivateKey("ecdsa")
  const certificate = issueAuthority(key, authorityName, new Date(Date.now() + authorityDays * dayMs))
  return { authority: toPem(certificate, "CERTIFICATE"), authorityKey: privateKeyToPem(key) }
}

function newServingKeys(authority: { authority: string; authorityKey: string }, names: readonly string[]) {
  const key = newPrivateKey("ecdsa")
  const certificate = issueCertificate({
    issuer: { commonName: authorityName, organization: "podside" },
    subject: { commonName: names[0]! },
    spki: spkiOf(key),
    notBefore: anHourAgo(),
    notAfter: new Date(Date.now() + servingDays * dayMs),
    extensions: [basicConstraints(false), keyUsage("sign-data"), extendedKeyUsage("server"), dnsNames(names)],
    signer: privateKeyFromPem(authority.authorityKey),
  })
  return { cert: toPem(certificate, "CERTIFICATE"), key: privateKeyToPem(key), ...authority }
}

function wholePair({ cert, key }: Partial<KeyPair>): KeyPair | undefined {
  return cert && key && daysLeft(cert) > servingRenewalDays ? { cert, key } : undefined
}

function daysLeft(pem: string): number {
  try {
    return (Date.parse(new X509Certificate(pem).validTo) - Date.now()) / dayMs
  } catch {
    return 0
  }
}

function namesAll(pem: string, names: readonly string[]): boolean {
  const certificate = new X509Certificate(pem)
  return names.every((name) => certificate.checkHost(name) !== undefined)
}
