import type { KeyObject } from "node:crypto"
import { bits, context, der, integer, octets, oid, sequence, set, Tag, time, truth, utf8 } from "./der.ts"
import { keyType, newSerial, signatureAlgorithm, signBytes, spkiOf } from "./keys.ts"

/*
 * X.509 v3, RFC 5280.
 * Certificate = { tbs, signatureAlgorithm, signature }
 * tbs = { [0] version 2, serial, signatureAlgorithm, issuer, { notBefore, notAfter }, subject, spki, [3] extensions }
 */

export interface Name {
  commonName: string
  organization?: string
}

export interface CertificateRequest {
  issuer: Name
  subject: Name
  /** SubjectPublicKeyInfo of the subject, written unchanged. */
  spki: Uint8Array
  notBefore: Date
  notAfter: Date
  extensions: readonly Uint8Array[]
  signer: KeyObject
  /** Write NULL parameters behind signature algorithms: a mirrord client re-encodes certificates that way. Default false. */
  explicitNull?: boolean
}

export function issueCertificate(request: CertificateRequest): Uint8Array {
  const algorithm = signatureAlgorithm(keyType(request.signer), request.explicitNull ?? false)
  const tbs = sequence(
    context(0, integer(Uint8Array.of(2))),
    integer(newSerial()),
    algorithm,
    distinguishedName(request.issuer),
    sequence(time(request.notBefore), time(request.notAfter)),
    distinguishedName(request.subject),
    request.spki,
    ...(request.extensions.length > 0 ? [context(3, sequence(...request.extensions))] : []),
  )
  return sequence(tbs, algorithm, bits(signBytes(request.signer, tbs)))
}

/** A self-signed certificate that signs others. */
export function issueAuthority(key: KeyObject, commonName: string, notAfter: Date): Uint8Array {
  const name = { commonName, organization: "podside" }
  return issueCertificate({
    issuer: name,
    subject: name,
    spki: spkiOf(key),
    notBefore: anHourAgo(),
    notAfter,
    extensions: [basicConstraints(true), keyUsage("sign-certificates"), keyIdentifier(spkiOf(key))],
    signer: key,
  })
}

/** Room for clocks that are behind ours. */
export const anHourAgo = (): Date => new Date(Date.now() - 3600 * 1000)

export function distinguishedName({ organization, commonName }: Name): Uint8Array {
  const relative = (type: string, value: string) => set(sequence(oid(type), utf8(value)))
  return sequence(
    ...(organization === undefined ? [] : [relative("2.5.4.10", organization)]),
    relative("2.5.4.3", commonName),
  )
}

/** One extension; `type` is an OBJECT IDENTIFIER element. */
export function extension(type: Uint8Array, value: Uint8Array, critical = false): Uint8Array {
  return critical ? sequence(type, truth(), octets(value)) : sequence(type, octets(value))
}

export function basicConstraints(authority: boolean): Uint8Array {
  return extension(oid("2.5.29.19"), authority ? sequence(truth()) : sequence(), true)
}

export function keyUsage(use: "sign-certificates" | "sign-data"): Uint8Array {
  const value = use === "sign-certificates" ? Uint8Array.of(0x01, 0x06) : Uint8Array.of(0x07, 0x80)
  return extension(oid("2.5.29.15"), der(Tag.bitString, value), true)
}

export function extendedKeyUsage(use: "server" | "client"): Uint8Array {
  return extension(oid("2.5.29.37"), sequence(oid(use === "server" ? "1.3.6.1.5.5.7.3.1" : "1.3.6.1.5.5.7.3.2")))
}

export function dnsNames(names: readonly string[]): Uint8Array {
  return extension(oid("2.5.29.17"), sequence(...names.map((name) => der(0x82, new TextEncoder().encode(name)))))
}

function keyIdentifier(spki: Uint8Array): Uint8Array {
  const digest = new Uint8Array(new Bun.CryptoHasher("sha1").update(spki).digest().buffer)
  return extension(oid("2.5.29.14"), octets(digest))
}
