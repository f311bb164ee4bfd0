import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from "node:crypto"
import { AppError } from "../../errors.ts"
import { bitString, bits, children, contentOf, nothing, oid, readElement, sequence, Tag } from "./der.ts"

export type KeyType = "ed25519" | "ecdsa"

const oids = {
  ed25519: "1.3.101.112",
  /** X25519's number, which the mirrord CLI writes for its Ed25519 keys. */
  mislabelledEd25519: "1.3.101.110",
  ecPublicKey: "1.2.840.10045.2.1",
  p256: "1.2.840.10045.3.1.7",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
} as const

/** A public key as a certificate carries it. */
export interface SubjectKey {
  type: KeyType
  /** 32 bytes for Ed25519, the uncompressed point (65 bytes) for P-256. */
  raw: Uint8Array
  /** SubjectPublicKeyInfo exactly as it was received. */
  spki: Uint8Array
  /** The same key under the number that standard tools know. */
  key: KeyObject
}

/**
 * Reads a SubjectPublicKeyInfo, the mirrord CLI's odd one included: it labels Ed25519 keys as X25519 with a NULL parameter.
 * @throws AppError "unsupported-key"
 */
export function readSubjectKey(spki: Uint8Array): SubjectKey {
  const [algorithm, bitsElement] = children(readElement(spki))
  const [name, parameter] = children(algorithm)
  const algorithmOid = hex(contentOf(name, Tag.oid))
  const raw = bitString(bitsElement)
  const is = (dotted: string) => algorithmOid === hex(oid(dotted).subarray(2))
  if ((is(oids.ed25519) || is(oids.mislabelledEd25519)) && raw.length === 32) {
    return { type: "ed25519", raw, spki, key: importSpki(sequence(sequence(oid(oids.ed25519)), bits(raw))) }
  }
  const curve = parameter?.tag === Tag.oid ? hex(parameter.content) : ""
  if (is(oids.ecPublicKey) && curve === hex(oid(oids.p256).subarray(2)) && raw.length === 65) {
    return { type: "ecdsa", raw, spki, key: importSpki(spki) }
  }
  throw new AppError("unsupported-key", "The key is neither Ed25519 nor ECDSA P-256", {
    next: "Make an Ed25519 or ECDSA P-256 key and ask again.",
  })
}

/** AlgorithmIdentifier of a signature by a key of this type; `explicitNull` as mirrord's certificate library re-encodes it. */
export function signatureAlgorithm(type: KeyType, explicitNull: boolean): Uint8Array {
  const name = oid(type === "ed25519" ? oids.ed25519 : oids.ecdsaWithSha256)
  return explicitNull ? sequence(name, nothing()) : sequence(name)
}

export function newPrivateKey(type: KeyType): KeyObject {
  return type === "ed25519"
    ? generateKeyPairSync("ed25519").privateKey
    : generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
}

export function keyType(key: KeyObject): KeyType {
  return key.asymmetricKeyType === "ed25519" ? "ed25519" : "ecdsa"
}

export function signBytes(key: KeyObject, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(sign(keyType(key) === "ed25519" ? null : "sha256", bytes, key))
}

export function verifyBytes(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify(keyType(key) === "ed25519" ? null : "sha256", bytes, key, signature)
}

export const spkiOf = (key: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }))

export const privateKeyToPem = (key: KeyObject): string => key.export({ type: "pkcs8", format: "pem" }).toString()

export const privateKeyFromPem = (pem: string): KeyObject => createPrivateKey(pem)

/** 16 random bytes, positive as RFC 5280 wants serial numbers. */
export function newSerial(): Uint8Array {
  const bytes = new Uint8Array(randomBytes(16))
  bytes[0] = (bytes[0]! & 0x7f) | 0x01
  return bytes
}

function importSpki(spki: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" })
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
