import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto"
import {
  bits,
  children,
  context,
  der,
  type Element,
  integer,
  nothing,
  oid,
  readElement,
  sequence,
  set,
  Tag,
  utf8,
} from "../../../core/operator/credentials/der.ts"

/*
 * The client's key, its signing request with the library's oddities (X25519's number, explicit NULLs, CRLF), and what that
 * library makes of a certificate when it writes it out again.
 */

export const newUserKey = (): KeyObject => generateKeyPairSync("ed25519").privateKey

const rawPublicKey = (key: KeyObject) =>
  new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }).subarray(-32))

/** The text in `user_id` fields. */
export const userIdOf = (key: KeyObject): string => Buffer.from(rawPublicKey(key)).toString("base64").replace(/=+$/, "")

export function signingRequest(key: KeyObject, commonName: string): string {
  const info = sequence(
    integer(Uint8Array.of(0)),
    sequence(set(sequence(oid("2.5.4.3"), utf8(commonName)))),
    sequence(sequence(oid("1.3.101.110"), nothing()), bits(rawPublicKey(key))),
    context(0),
  )
  const signature = new Uint8Array(sign(null, info, key))
  const request = sequence(info, sequence(oid("1.3.101.112"), nothing()), bits(signature))
  const lines = Buffer.from(request)
    .toString("base64")
    .match(/.{1,64}/g)!
  return ["-----BEGIN CERTIFICATE REQUEST-----", ...lines, "-----END CERTIFICATE REQUEST-----", ""].join("\r\n")
}

/** The certificate in base64 as the client sends it: parsed and encoded again. @throws when the client could not read it */
export function reencoded(pem: string): string {
  const match = /^-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----\r?\n?$/.exec(pem)
  if (!match) throw new Error("the certificate is not one PEM block")
  const [tbs, algorithm, signature, ...more] = children(readElement(Buffer.from(match[1]!, "base64")))
  if (!tbs || !algorithm || !signature || more.length > 0) throw new Error("the certificate has not three parts")
  const [version, serial, inner, issuer, validity, subject, spki, ...optional] = children(tbs)
  if (version?.tag !== 0xa0 || serial?.tag !== Tag.integer) throw new Error("the certificate is not of version 3")
  for (const time of children(validity)) if (time.tag !== Tag.utcTime) throw new Error("a date is not in UTCTime")
  const [keyAlgorithm, keyBits] = children(spki)
  const whole = sequence(
    version.raw,
    serial.raw,
    withNull(inner),
    issuer!.raw,
    validity!.raw,
    subject!.raw,
    sequence(withNull(keyAlgorithm), keyBits!.raw),
    ...optional.map((part) => (part.tag === 0xa3 ? context(3, extensions(part)) : part.raw)),
  )
  return Buffer.from(sequence(whole, withNull(algorithm), signature.raw)).toString("base64")
}

function withNull(algorithm: Element | undefined): Uint8Array {
  const [name, parameters] = children(algorithm)
  return sequence(name!.raw, parameters?.raw ?? nothing())
}

/** `critical` is written only when it is true. */
function extensions(part: Element): Uint8Array {
  const each = children(readElement(part.content)).map((extension) => {
    const [name, ...rest] = children(extension)
    const critical = rest.length === 2 && rest[0]!.content[0] !== 0
    return sequence(name!.raw, ...(critical ? [der(Tag.boolean, Uint8Array.of(0xff))] : []), rest.at(-1)!.raw)
  })
  return sequence(...each)
}
