import { afterEach, expect, test } from "bun:test"
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto"
import { readFileSync } from "node:fs"
import { mkdtemp, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type FakeKube, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
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

const operator = (fingerprint: string, subscription_id?: string) =>
  ({
    description: { spec: { license: { fingerprint, subscription_id } } },
    supports: (feature: string) => feature === "ExtendableUserCredentials",
    headers: {},
    retry: { min_ms: 1, max_ms: 1, max_retries: 0 },
  }) as unknown as Operator

test("a certificate is asked for once and kept where only the user can read it", async () => {
  const fake = startFakeKube({ routes: { [route]: () => ({ status: { certificate } }) } })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  const folder = await mkdtemp(join(tmpdir(), "podside-credential-"))
  const path = join(folder, "deep/credentials.json")
  try {
    const first = await clientCertificate(kube, operator("one"), { path })
    expect(first).toBe(fromPem("CERTIFICATE", certificate).toString("base64"))
    expect(await clientCertificate(kube, operator("one"), { path })).toBe(first)
    expect(fake.requests).toHaveLength(1)
    await clientCertificate(kube, operator("two"), { path })
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

test("of two that ask at once both show the key of the first, and what another wrote for its operator is kept", async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let asked = 0
  const answer = async () => {
    await gates[asked++]!.promise
    return { status: { certificate } }
  }
  const fake = startFakeKube({ routes: { [route]: answer } })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  const folder = await mkdtemp(join(tmpdir(), "podside-credential-"))
  const path = join(folder, "credentials.json")
  const keys = async () => JSON.parse(await readFile(path, "utf8")) as Record<string, { key: string }>
  try {
    const starting: Promise<string>[] = []
    for (const name of ["one", "one", "two"]) {
      starting.push(clientCertificate(kube, operator(name), { path }))
      while (asked < starting.length) await Bun.sleep(1)
    }
    gates[0]!.resolve()
    await starting[0]
    const { one } = await keys()
    for (const { resolve } of gates) resolve()
    await Promise.all(starting)
    expect(Object.keys(await keys())).toEqual(["one", "two"])
    expect((await keys())["one"]).toEqual(one!)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test("under a renewed licence of the same subscription the user keeps the key, under another one does not", async () => {
  const fake = startFakeKube({ routes: { [route]: () => ({ status: { certificate } }) } })
  fakes.push(fake)
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  const folder = await mkdtemp(join(tmpdir(), "podside-credential-"))
  const path = join(folder, "credentials.json")
  try {
    const asked: [fingerprint: string, subscription?: string][] = [["a", "ours"], ["b"], ["c", "theirs"], ["d", "ours"]]
    for (const [fingerprint, subscription] of asked)
      await clientCertificate(kube, operator(fingerprint, subscription), { path })
    const { a, b, c, d } = JSON.parse(await readFile(path, "utf8"))
    expect(d.key).toBe(a.key)
    expect(new Set([a.key, b.key, c.key]).size).toBe(3)
    await clientCertificate(kube, operator("e"), { path })
    expect(JSON.parse(await readFile(path, "utf8")).e.key).not.toBe(b.key)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test("a certificate that cannot be kept is used nevertheless, and that is said", async () => {
  const fake = startFakeKube({ routes: { [route]: () => ({ status: { certificate } }) } })
  fakes.push(fake)
  const said: string[] = []
  // Nobody, not even root, makes a folder below a device.
  const options = { path: "/dev/null/credentials.json", warn: (text: string) => said.push(text) }
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  expect(await clientCertificate(kube, operator("one"), options)).toBe(
    fromPem("CERTIFICATE", certificate).toString("base64"),
  )
  expect(said).toEqual([expect.stringMatching(/^the certificate for this user cannot be kept: .*\/dev\/null/)])
})

test.each([
  ["an operator that is busy for a moment is asked again", 2, true],
  ["one that stays busy is not asked for ever", 3, false],
])("%s", async (_, refusals, isGiven) => {
  let left = refusals
  const busy = () => {
    const answer = statusAnswer(429, "TooManyRequests", "not now")
    answer.headers.set("retry-after", "0")
    return answer
  }
  const fake = startFakeKube({ routes: { [route]: () => (left-- > 0 ? busy() : { status: { certificate } }) } })
  fakes.push(fake)
  const patient = { ...operator("one"), retry: { min_ms: 60_000, max_ms: 60_000, max_retries: 2 } }
  const asked = clientCertificate(openKube({ kubeconfig: fake.kubeconfig }), patient, { path: "/dev/null/none" })
  if (isGiven) expect(await asked).toBeTruthy()
  else await expect(asked).rejects.toMatchObject({ code: "kube-busy" })
  expect(fake.requests).toHaveLength(3)
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
