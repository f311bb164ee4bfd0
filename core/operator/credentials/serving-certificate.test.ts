import { afterEach, beforeEach, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { OperatorSettings } from "../../../config/operator.ts"
import { until } from "../../../test/until.ts"
import type { Kube } from "../../kube/kube.ts"
import { createLogger } from "../../log.ts"
import { anHourAgo, basicConstraints, issueCertificate } from "./certificate.ts"
import { newPrivateKey, privateKeyToPem, spkiOf } from "./keys.ts"
import type { KeyPair } from "./operator-keys.ts"
import { toPem } from "./pem.ts"
import { servingCertificate } from "./serving-certificate.ts"

let folder: string
let ending: AbortController
let said: string[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "podside-serving-"))
  ending = new AbortController()
  said = []
})
afterEach(() => {
  ending.abort()
  rmSync(folder, { recursive: true })
})

function newPair(): KeyPair {
  const key = newPrivateKey("ecdsa")
  const name = { commonName: "operator" }
  const certificate = issueCertificate({
    issuer: name,
    subject: name,
    spki: spkiOf(key),
    notBefore: anHourAgo(),
    notAfter: new Date(Date.now() + 86_400_000),
    extensions: [basicConstraints(false)],
    signer: key,
  })
  return { cert: toPem(certificate, "CERTIFICATE"), key: privateKeyToPem(key) }
}

/** Replaces both files at once, as a mounted Secret's are: by another target of one symbolic link. */
async function mount({ cert, key }: KeyPair) {
  const version = crypto.randomUUID()
  mkdirSync(join(folder, version))
  await Bun.write(join(folder, version, "tls.crt"), cert)
  await Bun.write(join(folder, version, "tls.key"), key)
  symlinkSync(version, join(folder, "next"))
  renameSync(join(folder, "next"), join(folder, "data"))
}

async function serve() {
  const shown: KeyPair[] = []
  const options = {
    kube: {} as Kube,
    settings: {
      certificateFiles: { cert: join(folder, "data/tls.crt"), key: join(folder, "data/tls.key") },
    } as OperatorSettings,
    labels: {},
    log: createLogger({ write: (line) => void said.push(line) }),
    signal: ending.signal,
    lookMs: 20,
  }
  shown.push(await servingCertificate(options, (pair) => shown.push(pair)))
  return shown
}

test("files that are replaced are served soon, and told once", async () => {
  const [first, second] = [newPair(), newPair()]
  await mount(first)
  const shown = await serve()
  expect(shown).toEqual([first])
  await mount(second)
  await until(() => shown.length > 1)
  await Bun.sleep(100)
  expect(shown).toEqual([first, second])
})

test.each<[what: string, spoil: (pair: KeyPair) => KeyPair, complaint: string]>([
  ["a certificate beside another one's key", ({ cert }) => ({ cert, key: newPair().key }), "do not belong together"],
  ["an empty certificate", ({ key }) => ({ cert: "", key }), "cannot be read"],
  ["what is no key", ({ cert }) => ({ cert, key: "no key" }), "cannot be read"],
])(
  "%s is never served: the former one stays, with one warning, until there is a pair again",
  async (_, spoil, complaint) => {
    const [first, second] = [newPair(), newPair()]
    await mount(first)
    const shown = await serve()
    await mount(spoil(second))
    await until(() => said.length > 0)
    expect(said).toEqual([expect.stringContaining(complaint)])
    expect(said[0]).not.toContain("PRIVATE KEY")
    await mount(second)
    await until(() => shown.length > 1)
    expect(shown).toEqual([first, second])
    expect(said).toHaveLength(2)
  },
)

test("an operator does not start with half a pair", async () => {
  await mount({ cert: newPair().cert, key: newPair().key })
  await expect(serve()).rejects.toThrow(/do not belong together/)
})
