import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { closeSync, constants, mkdirSync, openSync, symlinkSync, writeFileSync } from "node:fs"
import { type Certificates, makeCertificates } from "../../../test/e2e/incoming/certificates.ts"
import { TargetPem } from "./target-pem.ts"

const hasOpenssl = Bun.which("openssl") !== null
if (!hasOpenssl) console.warn("SKIPPED: certificates of a target's file system: openssl is missing")

/* The target's root is a folder in which the certificates lie. */

describe.skipIf(!hasOpenssl)("certificates of the target's file system", () => {
  let pki: Certificates
  let rootFd: number
  let files: TargetPem

  beforeAll(async () => {
    pki = makeCertificates()
    await Promise.all(["one", "two"].map((name) => pki.authority(name)))
    await pki.issue("leaf", "one", "DNS:app.test")
    await pki.issue("early", "one", "DNS:app.test", { from: "20980101", to: "20990101" })
    writeFileSync(pki.path("chain.pem"), `${pki.read("leaf.pem")}some text\n${pki.read("one.pem")}`)
    writeFileSync(pki.path("keys.pem"), pki.read("leaf.key") + pki.read("one.key"))
    writeFileSync(pki.path("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    mkdirSync(pki.path("roots/below"), { recursive: true })
    for (const name of ["one", "two"]) writeFileSync(pki.path(`roots/${name}.pem`), pki.read(`${name}.pem`))
    writeFileSync(pki.path("roots/below/leaf.pem"), pki.read("leaf.pem"))
    writeFileSync(pki.path("roots/notes.txt"), "nothing")
    writeFileSync(pki.path("large.pem"), Buffer.alloc((4 << 20) + 1))
    // As Kubernetes mounts secrets, and as somebody would try to get out.
    symlinkSync("/leaf.pem", pki.path("absolute.pem"))
    symlinkSync(`../../..${pki.path("leaf.pem")}`, pki.path("outside.pem"))
    Bun.spawnSync(["mkfifo", pki.path("pipe")])
    rootFd = openSync(pki.folder, constants.O_DIRECTORY)
    files = new TargetPem(rootFd)
  }, 120_000)

  afterAll(() => {
    closeSync(rootFd)
    pki.remove()
  })

  const pair = (certPem: string, keyPem: string) => files.keyPair({ certPem, keyPem })

  test("a chain and its key are taken, other text is not", () => {
    const { cert, key } = pair("/chain.pem", "/leaf.key")
    expect(cert).toBe(`${pki.read("leaf.pem")}${pki.read("one.pem")}`.trim())
    expect(key).toBe(pki.read("leaf.key").trim())
  })

  test("links lead to files of the target, never out of it", () => {
    expect(pair("/absolute.pem", "/leaf.key").cert).toBe(pki.read("leaf.pem").trim())
    expect(() => pair("/outside.pem", "/leaf.key")).toThrow("cannot read /outside.pem of the target: open: ENOENT")
  })

  test.each([
    ["/leaf.key", "/leaf.key", "/leaf.key holds no certificate"],
    ["/leaf.pem", "/leaf.pem", "/leaf.pem holds 0 private keys, it must be one"],
    ["/leaf.pem", "/keys.pem", "/keys.pem holds 2 private keys, it must be one"],
    ["/leaf.pem", "/one.key", "the key in /one.key is not that of the certificate in /leaf.pem"],
    ["/broken.pem", "/leaf.key", "a certificate in /broken.pem cannot be read"],
    ["/early.pem", "/early.key", "the certificate in /early.pem is not valid before Jan  1 00:00:00 2098 GMT"],
    ["/nowhere", "/leaf.key", "cannot read /nowhere of the target: open: ENOENT"],
    ["/roots", "/leaf.key", "cannot read /roots of the target: it is not a file"],
    ["/pipe", "/leaf.key", "cannot read /pipe of the target: it is not a file"],
    ["/large.pem", "/leaf.key", "cannot read /large.pem of the target: it is larger than 4 MiB"],
  ])("%s with %s is refused", (certPem, keyPem, reason) => {
    expect(() => pair(certPem, keyPem)).toThrow(reason)
  })

  test("authorities come from files and from the files of a folder; what cannot be used is told", () => {
    const skipped: string[] = []
    const found = files.roots(["/roots", "/broken.pem", "/nowhere", "/one.pem"], (reason) => skipped.push(reason))
    const [one, two] = ["one", "two"].map((name) => pki.read(`${name}.pem`).trim())
    expect(found.toSorted()).toEqual([one, one, two].toSorted() as string[])
    expect(skipped).toEqual(["a certificate in /broken.pem cannot be read", "/nowhere: open: ENOENT"])
  })
})
