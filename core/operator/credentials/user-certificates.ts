import { createHash, createPublicKey, type KeyObject } from "node:crypto"
import { AppError } from "../../errors.ts"
import {
  anHourAgo,
  basicConstraints,
  distinguishedName,
  extension,
  issueCertificate,
  keyUsage,
  type Name,
} from "./certificate.ts"
import { commonNameOf, readSigningRequest } from "./csr.ts"
import { bitString, children, contentOf, der, readElement, readTime, Tag } from "./der.ts"
import { readSubjectKey, signatureAlgorithm, verifyBytes } from "./keys.ts"
import { toPem } from "./pem.ts"

/*
 * Certificates that name the key of a client machine, sent in a header beside the Kubernetes identity. Whoever holds one
 * can send it: it is an identifier, never a proof. Signature algorithms carry explicit NULLs, because a mirrord client
 * re-encodes certificates that way before it sends them (operator API, user certificates).
 */

export type CredentialKind = "regular" | "ci"

/** Life of a certificate, in days. Clients renew theirs by themselves; a CI key is kept by hand. */
export const lifeDays: Record<CredentialKind, number> = { regular: 90, ci: 365 }

/** Extension whose identifier bytes are this text; its value is JSON, `{"usage":2}` for CI. */
const propertyOid = der(Tag.oid, new TextEncoder().encode("/metalbear/client/cert/property"))
const ciProperty = new TextEncoder().encode('{"usage":2}')

/** How mirrord's clients begin the name in a request for CI; the organization follows. A person's carries the machine's name. */
const ciNamePrefix = "mirrord-ci@"

/** Longest certificate header read, in base64 characters. Real ones have about 700. */
const maxHeaderLength = 8192
/** Verified headers remembered, so that a request costs no signature check. */
const maxRemembered = 4096

export interface UserCertificate {
  /** Standard base64 without padding, 43 characters: the raw Ed25519 key, or the SHA-256 of a longer key. */
  userId: string
  commonName: string
  kind: CredentialKind
  notAfter: Date
}

export interface IssuedCertificate {
  pem: string
  kind: CredentialKind
}

export interface UserAuthorityKeys {
  /** Private; signs. */
  current: KeyObject
  /** Public keys of before. CI certificates they signed still count: their jobs cannot ask for another by themselves. */
  former: readonly KeyObject[]
}

export class UserCertificates {
  readonly #key: KeyObject
  readonly #issuer: Name
  readonly #verifyKey: KeyObject
  readonly #formerKeys: readonly KeyObject[]
  readonly #issuerName: Buffer
  readonly #remembered = new Map<string, UserCertificate>()

  constructor({ current, former }: UserAuthorityKeys, issuer: Name) {
    this.#key = current
    this.#issuer = issuer
    this.#verifyKey = createPublicKey(current)
    this.#formerKeys = former
    this.#issuerName = Buffer.from(distinguishedName(issuer))
  }

  /** Changes exactly when the signing key does, so that clients fetch new certificates then. */
  get fingerprint(): string {
    const spki = this.#verifyKey.export({ type: "spki", format: "der" })
    return unpadded(createHash("sha256").update(spki).digest())
  }

  /**
   * Some of mirrord's clients ask for a certificate for CI when they renew a person's; the name tells, and that one stays a person's.
   * @throws AppError "bad-signing-request"
   */
  issue(requestPem: string, asked: CredentialKind): IssuedCertificate {
    const { commonName, subjectKey } = readSigningRequest(requestPem)
    const kind = asked === "ci" && commonName.startsWith(ciNamePrefix) ? "ci" : "regular"
    const certificate = issueCertificate({
      issuer: this.#issuer,
      subject: { commonName },
      spki: subjectKey.spki,
      notBefore: anHourAgo(),
      notAfter: new Date(Date.now() + lifeDays[kind] * 86_400_000),
      extensions: [
        basicConstraints(false),
        keyUsage("sign-data"),
        ...(kind === "ci" ? [extension(propertyOid, ciProperty)] : []),
      ],
      signer: this.#key,
      explicitNull: true,
    })
    return { pem: toPem(certificate, "CERTIFICATE"), kind }
  }

  /** Checks the base64 of a DER certificate. @throws AppError "bad-user-certificate" */
  verify(header: string): UserCertificate {
    const known = this.#remembered.get(header)
    const certificate = known ?? this.#read(header)
    if (certificate.notAfter.getTime() < Date.now()) throw refused("it has expired")
    if (!known) this.#remember(header, certificate)
    return certificate
  }

  #read(header: string): UserCertificate {
    if (header.length > maxHeaderLength) throw refused("it is too long")
    let certificate: UserCertificate & { notBefore: Date }
    try {
      certificate = this.#parse(new Uint8Array(Buffer.from(header, "base64")))
    } catch (cause) {
      if (cause instanceof AppError && cause.code === "bad-user-certificate") throw cause
      throw refused("it cannot be read", cause)
    }
    if (certificate.notBefore.getTime() > Date.now()) throw refused("it is not valid yet")
    return certificate
  }

  #parse(bytes: Uint8Array): UserCertificate & { notBefore: Date } {
    const [tbs, algorithm, signature] = children(readElement(bytes))
    const [, , , issuer, validity, subject, spki, ...optional] = children(tbs)
    if (!tbs || !algorithm || !spki || !this.#issuerName.equals(issuer?.raw ?? Buffer.alloc(0))) {
      throw refused("it was not issued by this operator")
    }
    const kind = optional.some((part) => part.tag === 0xa3 && isForCi(part.content)) ? "ci" : "regular"
    const expected = Buffer.from(signatureAlgorithm("ed25519", true))
    const keys = kind === "ci" ? [this.#verifyKey, ...this.#formerKeys] : [this.#verifyKey]
    if (!expected.equals(algorithm.raw) || !keys.some((key) => verifyBytes(key, tbs.raw, bitString(signature)))) {
      throw refused("it was not signed by this operator")
    }
    const [notBefore, notAfter] = children(validity).map(readTime)
    const { raw } = readSubjectKey(spki.raw)
    return {
      userId: unpadded(raw.length === 32 ? raw : createHash("sha256").update(raw).digest()),
      commonName: commonNameOf(subject),
      kind,
      notBefore: notBefore!,
      notAfter: notAfter!,
    }
  }

  #remember(header: string, certificate: UserCertificate): void {
    const oldest = this.#remembered.size >= maxRemembered ? this.#remembered.keys().next().value : undefined
    if (oldest !== undefined) this.#remembered.delete(oldest)
    this.#remembered.set(header, certificate)
  }
}

function isForCi(extensions: Uint8Array): boolean {
  return children(readElement(extensions)).some((one) => {
    const [type, ...rest] = children(one)
    const value = contentOf(rest.at(-1), Tag.octetString)
    return Buffer.from(propertyOid).equals(type?.raw ?? Buffer.alloc(0)) && Buffer.from(ciProperty).equals(value)
  })
}

const unpadded = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64").replace(/=+$/, "")

function refused(why: string, cause?: unknown): AppError {
  return new AppError("bad-user-certificate", `The client certificate is refused: ${why}`, {
    cause,
    next: "Remove ~/.mirrord/credentials so that a new certificate is requested, and try again.",
  })
}
