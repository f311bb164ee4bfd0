import { AppError } from "../../errors.ts"
import { bitString, children, contentOf, type Element, oid, readElement, Tag } from "./der.ts"
import { readSubjectKey, type SubjectKey, verifyBytes } from "./keys.ts"
import { fromPem } from "./pem.ts"

/** A PKCS#10 request whose self-signature was verified. */
export interface SigningRequest {
  commonName: string
  subjectKey: SubjectKey
}

const commonNameOid = Buffer.from(oid("2.5.4.3"))
/** Longest request read, bytes of PEM text. mirrord's are about 300. */
const maxRequestBytes = 16 * 1024
/** RFC 5280, ub-common-name is 64; host names may be longer, so twice that and some. */
const maxCommonNameLength = 255

/** @throws AppError "bad-signing-request" */
export function readSigningRequest(pem: string): SigningRequest {
  if (pem.length > maxRequestBytes) throw refused(`it is longer than ${maxRequestBytes} bytes`)
  try {
    const [info, , signature] = children(readElement(fromPem(pem, "CERTIFICATE REQUEST")))
    const [, subject, spki] = children(info)
    if (!info || !spki) throw refused("it is incomplete")
    const subjectKey = readSubjectKey(spki.raw)
    if (!verifyBytes(subjectKey.key, info.raw, bitString(signature)))
      throw refused("its signature does not fit its key")
    const commonName = commonNameOf(subject)
    if (!commonName || commonName.length > maxCommonNameLength || hasControls(commonName)) {
      throw refused("its common name is missing, too long or not printable")
    }
    return { commonName, subjectKey }
  } catch (cause) {
    if (cause instanceof AppError && cause.code === "bad-signing-request") throw cause
    throw refused(cause instanceof Error ? cause.message : "it cannot be read", cause)
  }
}

/** The first common name of a Name, empty when there is none. */
export function commonNameOf(name: Element | undefined): string {
  for (const relative of children(name)) {
    for (const attribute of children(relative, Tag.set)) {
      const [type, value] = children(attribute)
      if (value && commonNameOid.equals(type?.raw ?? Buffer.alloc(0))) {
        return new TextDecoder("utf-8", { fatal: true }).decode(contentOf(value, value.tag))
      }
    }
  }
  return ""
}

const hasControls = (text: string) => /\p{Cc}/u.test(text)

function refused(why: string, cause?: unknown): AppError {
  return new AppError("bad-signing-request", `Cannot sign the certificate request: ${why}`, {
    cause,
    next: "Send a PKCS#10 request in PEM with an Ed25519 or ECDSA P-256 key.",
  })
}
