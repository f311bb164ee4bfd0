import { describe, expect, test } from "bun:test"
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from "node:crypto"
import { dnsNames, extendedKeyUsage, issueAuthority, issueCertificate } from "./certificate.ts"
import {
  bits,
  children,
  context,
  integer,
  nothing,
  oid,
  readElement,
  readElements,
  sequence,
  set,
  utf8,
} from "./der.ts"
import { newPrivateKey, spkiOf } from "./keys.ts"
import { fromPem, toPem } from "./pem.ts"
import { UserCertificates } from "./user-certificates.ts"

const newKeys = (former: KeyObject[] = []) => ({ current: newPrivateKey("ed25519"), former })
const issuer = { commonName: "podside", organization: "test" }

/** A request as the mirrord CLI writes it: X25519's number, explicit NULLs, CRLF line ends. */
function mirrordRequest(key: KeyObject, commonName = "ann-laptop"): string {
  const raw = spkiOf(key).subarray(-32)
  const info = sequence(
    integer(Uint8Array.of(0)),
    sequence(set(sequence(oid("2.5.4.3"), utf8(commonName)))),
    sequence(sequence(oid("1.3.101.110"), nothing()), bits(raw)),
    context(0),
  )
  const signature = new Uint8Array(sign(null, info, key))
  const request = sequence(info, sequence(oid("1.3.101.112"), nothing()), bits(signature))
  return toPem(request, "CERTIFICATE REQUEST").replaceAll("\n", "\r\n")
}

const ciName = "mirrord-ci@test"

const headerOf = (pem: string) => Buffer.from(fromPem(pem, "CERTIFICATE")).toString("base64")

describe("user certificates", () => {
  const operator = new UserCertificates(newKeys(), issuer)

  test("a mirrord request gets a certificate that names its key", () => {
    const key = newPrivateKey("ed25519")
    const certificate = operator.verify(headerOf(operator.issue(mirrordRequest(key), "regular").pem))
    expect(certificate.userId).toBe(Buffer.from(spkiOf(key).subarray(-32)).toString("base64").replace(/=+$/, ""))
    expect(certificate.userId).toHaveLength(43)
    expect(certificate.commonName).toBe("ann-laptop")
    expect(certificate.kind).toBe("regular")
  })

  test("after the operator's key was replaced a CI certificate still counts when the former key is kept, a person's does not", () => {
    const keys = newKeys()
    const before = new UserCertificates(keys, issuer)
    const [ci, regular] = (["ci", "regular"] as const).map((kind) =>
      headerOf(before.issue(mirrordRequest(newPrivateKey("ed25519"), ciName), kind).pem),
    )
    const after = new UserCertificates(newKeys([createPublicKey(keys.current)]), issuer)
    expect(after.verify(ci!)).toEqual(before.verify(ci!))
    expect(() => after.verify(regular!)).toThrow("not signed by this operator")
    expect(() => new UserCertificates(newKeys(), issuer).verify(ci!)).toThrow("not signed by this operator")
    expect(after.fingerprint).not.toBe(before.fingerprint)
  })

  test.each([
    ["a person's, renewed by a client that asks for CI then", "ann-laptop", "ci", "regular", 90],
    ["one for CI", ciName, "ci", "ci", 365],
    ["a machine's that only sounds like CI", ciName, "regular", "regular", 90],
  ] as const)("a certificate is what its name says, and lives as long: %s", (_what, name, asked, kind, days) => {
    const issued = operator.issue(mirrordRequest(newPrivateKey("ed25519"), name), asked)
    const { notAfter, ...certificate } = operator.verify(headerOf(issued.pem))
    expect([issued.kind, certificate.kind]).toEqual([kind, kind])
    expect(Math.round((notAfter.getTime() - Date.now()) / 86_400_000)).toBe(days)
  })

  test("the subject's key and both algorithms keep their NULL, so that re-encoding changes nothing", () => {
    const { pem } = operator.issue(mirrordRequest(newPrivateKey("ed25519"), ciName), "ci")
    const [tbs, outer] = children(readElement(fromPem(pem, "CERTIFICATE")))
    const [, , inner, , , , spki] = children(tbs)
    for (const algorithm of [outer, inner, children(spki)[0]]) expect(children(algorithm).at(-1)?.tag).toBe(5)
    expect(operator.verify(headerOf(pem)).kind).toBe("ci")
  })

  test("an ECDSA request made by a standard tool is signed too", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
    const info = sequence(
      integer(Uint8Array.of(0)),
      sequence(set(sequence(oid("2.5.4.3"), utf8("desk")))),
      spkiOf(privateKey),
      context(0),
    )
    const request = sequence(
      info,
      sequence(oid("1.2.840.10045.4.3.2")),
      bits(new Uint8Array(sign("sha256", info, privateKey))),
    )
    const header = headerOf(operator.issue(toPem(request, "CERTIFICATE REQUEST"), "regular").pem)
    expect(operator.verify(header).userId).toHaveLength(43)
  })

  const good = operator.issue(mirrordRequest(newPrivateKey("ed25519")), "regular").pem
  const flipped = (at: number) => {
    const bytes = fromPem(good, "CERTIFICATE").slice()
    bytes[at < 0 ? bytes.length + at : at]! ^= 1
    return Buffer.from(bytes).toString("base64")
  }
  test.each([
    [
      "of another operator with the same name",
      headerOf(new UserCertificates(newKeys(), issuer).issue(mirrordRequest(newPrivateKey("ed25519")), "regular").pem),
      "not signed by this operator",
    ],
    ["with a changed signature", flipped(-1), "not signed by this operator"],
    ["with a changed validity", flipped(90), "not signed by this operator"],
    ["that is not base64 of a certificate", "bm90aGluZw==", "cannot be read"],
    ["that is empty", "", "cannot be read"],
    ["that is huge", "A".repeat(100_000), "too long"],
  ])("a certificate %s is refused", (_what, header, why) => {
    expect(() => operator.verify(header)).toThrow(`The client certificate is refused: it`)
    expect(() => operator.verify(header)).toThrow(why)
    expect(operator.verify(headerOf(good)).kind).toBe("regular")
  })

  test.each([
    [
      "with a signature by another key",
      () => mirrordRequest(newPrivateKey("ed25519")).replace(/(.{6})(=*\r\n-----END)/, "AAAAAA$2"),
      "its signature does not fit its key",
    ],
    ["without a common name", () => mirrordRequest(newPrivateKey("ed25519"), ""), "common name is missing"],
    ["with a line break in its name", () => mirrordRequest(newPrivateKey("ed25519"), "a\nb"), "not printable"],
    ["with a name that is too long", () => mirrordRequest(newPrivateKey("ed25519"), "a".repeat(256)), "too long"],
    ["that is not PEM", () => "hello", "PEM"],
    ["that ends early", () => toPem(Uint8Array.of(0x30, 0x82, 0x01), "CERTIFICATE REQUEST"), "request: "],
    ["that is huge", () => `-----BEGIN CERTIFICATE REQUEST-----${"A".repeat(1 << 20)}`, "longer than 16384 bytes"],
  ])("a request %s is refused", (_what, make, why) => {
    expect(() => operator.issue(make(), "regular")).toThrow("Cannot sign the certificate request")
    expect(() => operator.issue(make(), "regular")).toThrow(why)
    expect(operator.issue(mirrordRequest(newPrivateKey("ed25519"), "a".repeat(255)), "regular").pem).toContain("BEGIN")
  })
})

describe("serving certificates", () => {
  test("standard tools accept the authority and what it signs", () => {
    const key = newPrivateKey("ecdsa")
    const authority = new X509Certificate(
      toPem(issueAuthority(key, "podside serving", new Date("2055-01-01")), "CERTIFICATE"),
    )
    const leafKey = newPrivateKey("ecdsa")
    const leaf = new X509Certificate(
      toPem(
        issueCertificate({
          issuer: { commonName: "podside serving", organization: "podside" },
          subject: { commonName: "podside-operator" },
          spki: spkiOf(leafKey),
          notBefore: new Date(Date.now() - 1000),
          notAfter: new Date(Date.now() + 86_400_000),
          extensions: [extendedKeyUsage("server"), dnsNames(["podside-operator.mirrord.svc"])],
          signer: key,
        }),
        "CERTIFICATE",
      ),
    )
    expect(authority.ca).toBe(true)
    expect(leaf.checkIssued(authority)).toBe(true)
    expect(leaf.verify(authority.publicKey)).toBe(true)
    expect(leaf.checkPrivateKey(createPrivateKey(leafKey.export({ type: "pkcs8", format: "pem" })))).toBe(true)
    expect(leaf.subjectAltName).toBe("DNS:podside-operator.mirrord.svc")
    expect(authority.validTo).toContain("2055")
  })
})

describe("DER", () => {
  test.each([
    ["nothing", []],
    ["a header cut short", [0x30]],
    ["a length cut short", [0x30, 0x82, 0x01]],
    ["content cut short", [0x30, 0x05, 0x01]],
    ["an endless length", [0x30, 0x80, 0x00]],
    ["a length of four gigabytes", [0x30, 0x84, 0xff, 0xff, 0xff, 0xff]],
  ])("%s is an error, not a crash", (_what, bytes) => {
    expect(() => readElement(Uint8Array.from(bytes))).toThrow(/Malformed DER/)
  })

  test("long elements read back", () => {
    const long = sequence(utf8("x".repeat(70_000)), integer(Uint8Array.of(0x80)))
    const [text, number] = readElements(readElement(long).content)
    expect(text?.content.length).toBe(70_000)
    expect(number?.content).toEqual(Uint8Array.of(0, 0x80))
  })
})
