import { afterEach, expect, test } from "bun:test"
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto"
import { readFileSync } from "node:fs"
import { mkdtemp, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type FakeKube, startFakeKube } from "../../../../test/fakes/kube-server.ts"
import { openKube } from "../../../kube/kube.ts"
import { clientCertificate, signingRequest } from "./credential.ts"
import { fromPem } from "./der.ts"
import { type Operator, operatorApi } from "./find.ts"

const certificate = readFileSync(new URL("../../../../test/cases/tls/client.crt", import.meta.url), "utf8")
const route = `POST ${operatorApi}/mirrordclusteroperatorusercredentials`
const fakes: FakeKube[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

const operator = (fingerprint: string) =>
  ({
    description: { spec: { license: { fingerprint } } },
    supports: (feature: string) => feature === "ExtendableUserCredentials",
    headers: {},
  }) as unknown as Operator

test("a certificate is asked for once and kept where only the user can read it", async () => {
  const fake = startFakeKube({ routes: { [route]: () => ({ status: { certificate } }) } })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  const folder = await mkdtemp(join(tmpdir(), "podside-credential-"))
  const path = join(folder, "deep/credentials.json")
  try {
    const first = await clientCertificate(kube, operator("one"), path)
    expect(first).toBe(fromPem("CERTIFICATE", certificate).toString("base64"))
    expect(await clientCertificate(kube, operator("one"), path)).toBe(first)
    expect(fake.requests).toHaveLength(1)
    await clientCertificate(kube, operator("two"), path)
    expect(fake.requests).toHaveLength(2)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(Object.keys(JSON.parse(await readFile(path, "utf8")))).toEqual(["one", "two"])
    expect(fake.requests[0]?.body).toMatchObject({
      spec: { kind: "regular", csr: expect.stringContaining("CERTIFICATE REQUEST") },
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test("the signing request is signed by the key it is for", () => {
  const { privateKey } = generateKeyPairSync("ed25519")
  const der = fromPem("CERTIFICATE REQUEST", signingRequest(privateKey, "ann-laptop"))
  // SEQUENCE { info, algorithm, BIT STRING of 64 bytes }; all lengths are below 256 here.
  const start = der[1]! < 0x80 ? 2 : 3
  const info = der.subarray(
    start,
    start + 2 + der[start + 1]! + (der[start + 1] === 0x81 ? 1 + der[start + 2]! - 0x81 : 0),
  )
  expect(verify(null, info, createPublicKey(privateKey), der.subarray(-64))).toBe(true)
  expect(der.includes("ann-laptop")).toBe(true)
  expect(der.includes(Buffer.from([0x06, 0x03, 0x2b, 0x65, 0x6e, 0x05, 0x00]))).toBe(true)
})
