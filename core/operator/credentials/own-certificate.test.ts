import { afterEach, expect, test } from "bun:test"
import { X509Certificate } from "node:crypto"
import type { OperatorSettings } from "../../../config/operator.ts"
import { type FakeKube, type SeenRequest, startFakeKube, statusAnswer } from "../../../test/fakes/kube-server.ts"
import { until } from "../../../test/until.ts"
import { openKube } from "../../kube/kube.ts"
import { silentLogger } from "../../log.ts"
import {
  anHourAgo,
  basicConstraints,
  dnsNames,
  extendedKeyUsage,
  issueAuthority,
  issueCertificate,
} from "./certificate.ts"
import { newPrivateKey, privateKeyFromPem, privateKeyToPem, spkiOf } from "./keys.ts"
import { toPem } from "./pem.ts"
import { servingCertificate } from "./serving-certificate.ts"

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const names = ["front.tools.svc", "front.tools", "front"]
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000)
const authorityName = { commonName: "podside-operator serving", organization: "podside" }

/** A cluster's Secret of the operator and its APIService, and replicas that look every 20 ms. */
function cluster() {
  let stored: Record<string, string> | undefined
  let version = 0
  /** What happened, in order: "served" by a replica, "told" to the API server. */
  const events: string[] = []
  const spec: { caBundle?: string } = {}
  const secret = () => ({
    metadata: { name: "podside-operator-serving", resourceVersion: String(version) },
    data: Object.fromEntries(Object.entries(stored!).map(([key, text]) => [key, btoa(text)])),
  })
  const write = (isRightTime: (body: SeenRequest["body"]) => boolean) => (request: SeenRequest) => {
    if (!isRightTime(request.body)) return statusAnswer(409, "Conflict", "somebody was faster")
    const { data } = request.body as { data: Record<string, string> }
    stored = Object.fromEntries(Object.entries(data).map(([key, text]) => [key, atob(text)]))
    version++
    return secret()
  }
  const secrets = "/api/v1/namespaces/tools/secrets"
  const service = "/apis/apiregistration.k8s.io/v1/apiservices/v1.operator.metalbear.co"
  const fake: FakeKube = startFakeKube({
    routes: {
      [`GET ${secrets}/podside-operator-serving`]: () => (stored ? secret() : undefined),
      [`POST ${secrets}`]: write(() => stored === undefined),
      [`PUT ${secrets}/podside-operator-serving`]: write(
        (body) => (body as { metadata: { resourceVersion: string } }).metadata.resourceVersion === String(version),
      ),
      [`GET ${service}`]: () => ({ spec }),
      [`PATCH ${service}`]: ({ body }) => {
        spec.caBundle = (body as { spec: { caBundle: string } }).spec.caBundle
        events.push("told")
        return { spec }
      },
    },
  })
  ends.push(() => fake.stop())
  return {
    events,
    trusted: () => atob(spec.caBundle ?? ""),
    stored: () => stored!,
    /** How often the Secret was written. */
    writes: () => version,
    change: (values: Record<string, string>) => {
      stored = { ...stored, ...values }
      version++
    },
    async replica() {
      const ending = new AbortController()
      ends.push(() => ending.abort())
      const shown: string[] = []
      const settings = { serviceName: "front", namespace: "tools", manageApiService: true } as OperatorSettings
      const kube = openKube({ kubeconfig: fake.kubeconfig })
      const options = { kube, settings, labels: {}, log: silentLogger, signal: ending.signal, lookMs: 20 }
      const { cert } = await servingCertificate(options, (pair) => {
        shown.push(pair.cert)
        events.push("served")
      })
      shown.unshift(cert)
      return shown
    },
  }
}

/** A certificate of the API by the authority that is stored, for `days` more days. */
function issued({ authorityKey }: Record<string, string>, days: number, hosts = names) {
  const key = newPrivateKey("ecdsa")
  const certificate = issueCertificate({
    issuer: authorityName,
    subject: { commonName: hosts[0]! },
    spki: spkiOf(key),
    notBefore: anHourAgo(),
    notAfter: inDays(days),
    extensions: [basicConstraints(false), extendedKeyUsage("server"), dnsNames(hosts)],
    signer: privateKeyFromPem(authorityKey!),
  })
  return { cert: toPem(certificate, "CERTIFICATE"), key: privateKeyToPem(key) }
}

function isVerified(cert: string, authority: string): boolean {
  const [certificate, issuer] = [new X509Certificate(cert), new X509Certificate(authority)]
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}
const daysOf = (cert: string) => (Date.parse(new X509Certificate(cert).validTo) - Date.now()) / 86_400_000
const aWhile = () => Bun.sleep(200)

test("the first start makes a CA and a certificate for the service's names, and tells the API server that CA", async () => {
  const world = cluster()
  const [cert] = await world.replica()
  await until(() => world.events.includes("told"))
  expect(isVerified(cert!, world.trusted())).toBe(true)
  expect(new X509Certificate(cert!).subjectAltName).toBe(names.map((name) => `DNS:${name}`).join(", "))
  expect(daysOf(cert!)).toBeGreaterThan(89)
})

test("replicas that start at once serve the same certificate; a good one is left alone", async () => {
  const world = cluster()
  const [one, other] = await Promise.all([world.replica(), world.replica()])
  await aWhile()
  expect(one).toEqual(other)
  expect(one).toHaveLength(1)
  world.change(issued(world.stored(), 31))
  await until(() => one.length === 2 && other.length === 2)
  await aWhile()
  expect(world.writes()).toBe(2)
  expect(world.events.filter((event) => event === "told").length).toBeLessThanOrEqual(2)
})

test.each<[what: string, due: (stored: Record<string, string>) => Record<string, string>]>([
  ["with less than a month left", (stored) => issued(stored, 29)],
  ["for other names", (stored) => issued(stored, 90, ["elsewhere.tools.svc"])],
  ["that cannot be read", () => ({ cert: "no certificate" })],
])("a certificate %s is renewed by every replica, with the CA everybody trusts", async (_, due) => {
  const world = cluster()
  const [one, other] = await Promise.all([world.replica(), world.replica()])
  await until(() => world.events.includes("told"))
  const [former, authority] = [one[0], world.trusted()]
  world.change(due(world.stored()))
  await until(() => one.length > 1 && other.length > 1)
  await aWhile()
  expect(one.at(-1)).toBe(other.at(-1)!)
  expect(one.at(-1)).not.toBe(former)
  expect(world.trusted()).toBe(authority)
  expect(isVerified(one.at(-1)!, authority)).toBe(true)
  expect(daysOf(one.at(-1)!)).toBeGreaterThan(89)
})

test("a CA with less than a month left is replaced; the API server hears of it after its certificate is served", async () => {
  const world = cluster()
  const shown = await world.replica()
  await until(() => world.events.includes("told"))
  const former = world.trusted()
  const key = privateKeyFromPem(world.stored()["authorityKey"]!)
  world.change({ authority: toPem(issueAuthority(key, authorityName.commonName, inDays(29)), "CERTIFICATE") })
  world.events.length = 0
  await until(() => world.events.includes("told"))
  expect(world.events).toEqual(["served", "told"])
  expect(world.trusted()).not.toBe(former)
  expect(isVerified(shown.at(-1)!, world.trusted())).toBe(true)
})
