import { afterEach, expect, test } from "bun:test"
import { type FakeKube, type Route, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
import { openKube } from "../../../kube/kube.ts"
import { findOperator, operatorApi } from "./find.ts"
import type { OutOfService } from "./out-of-service.ts"

const startup_retry = { min_ms: 1, max_ms: 1, max_retries: 0 }
const fakes: FakeKube[] = []
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop()
})

const unusable = (text: string) => () => new Response(text, { status: 503 })
const apiService =
  (annotations = {}): Route =>
  () => ({
    metadata: { name: "v1.operator.metalbear.co", annotations },
    spec: { service: { name: "front", namespace: "tools" } },
    status: { conditions: [{ type: "Available", status: "False", message: "endpointslices have no addresses" }] },
  })
const getApiService = "GET /apis/apiregistration.k8s.io/v1/apiservices/v1.operator.metalbear.co"
const issued = { "cert-manager.io/inject-ca-from": "tools/podside-operator" }
const certificates = "GET /apis/cert-manager.io/v1/namespaces/tools"
const certificate =
  (status: string): Route =>
  () => ({
    metadata: { name: "podside-operator" },
    status: { conditions: [{ type: "Ready", status, message: "Secret does not exist" }] },
  })
const request = (day: number, of: string, message: string) => ({
  metadata: {
    name: `${of}-${day}`,
    creationTimestamp: `2026-01-0${day}T00:00:00Z`,
    annotations: { "cert-manager.io/certificate-name": of },
  },
  status: { conditions: [{ type: "Ready", status: "False", message }] },
})
const service: Record<string, Route> = {
  "GET /api/v1/namespaces/tools/services/front": () => ({ spec: { selector: { app: "operator", part: "of" } } }),
}
const pods = (...items: object[]): Record<string, Route> => ({
  "GET /api/v1/namespaces/tools/pods": ({ query }) => ({
    items: query["labelSelector"] === "app=operator,part=of" ? items : [],
  }),
})
const pod = (waiting?: object, ready = "False") => ({
  metadata: { name: "operator-1" },
  status: {
    phase: "Pending",
    conditions: [{ type: "Ready", status: ready }],
    containerStatuses: waiting ? [{ name: "operator", state: { waiting } }] : [],
  },
})
const registered = { [getApiService]: apiService() }

/** What is said of an operator whose API answers nothing. */
async function said(routes: Record<string, Route>, answer = "service unavailable"): Promise<OutOfService | undefined> {
  const down = unusable(answer)
  const unavailable = { [`GET ${operatorApi}`]: down, [`GET ${operatorApi}/mirrordoperators/operator`]: down }
  const fake = startFakeKube({ routes: { ...unavailable, ...routes } })
  fakes.push(fake)
  const heard: OutOfService[] = []
  expect(
    await findOperator(openKube({ kubeconfig: fake.kubeconfig }), { startup_retry }, (why) => heard.push(why)),
  ).toBeUndefined()
  expect(heard).toHaveLength(1)
  return heard[0]
}

test.each<[situation: string, routes: Record<string, Route>, reason: string, next: string]>([
  [
    "a certificate that was not issued: what its newest request says",
    {
      [getApiService]: apiService(issued),
      [`${certificates}/certificates/podside-operator`]: certificate("False"),
      [`${certificates}/certificaterequests`]: () => ({
        items: [
          request(2, "podside-operator", 'issuer "nobody" not found'),
          request(1, "podside-operator", "older"),
          request(3, "other", "somebody else's"),
        ],
      }),
    },
    'cert-manager has not issued the Certificate "podside-operator" in tools: issuer "nobody" not found',
    "describe certificaterequests",
  ],
  [
    "a certificate without a request: what it says itself",
    { [getApiService]: apiService(issued), [`${certificates}/certificates/podside-operator`]: certificate("False") },
    "Secret does not exist",
    "tls.certManager",
  ],
  [
    "an issued certificate is not the cause",
    {
      [getApiService]: apiService(issued),
      [`${certificates}/certificates/podside-operator`]: certificate("True"),
      ...service,
      ...pods(),
    },
    'its service "front" in tools has no pods',
    "kubectl -n tools describe deployments",
  ],
  [
    "a Secret that is missing: the pod's newest warning",
    {
      ...registered,
      ...service,
      ...pods(pod({ reason: "ContainerCreating" })),
      "GET /api/v1/namespaces/tools/events": ({ query }) => ({
        items:
          query["fieldSelector"] === "involvedObject.name=operator-1,type=Warning"
            ? [
                { metadata: {}, lastTimestamp: "2026-01-01T00:00:02Z", message: 'secret "own-tls" not found' },
                { metadata: { creationTimestamp: "2026-01-01T00:00:01Z" }, message: "older" },
              ]
            : [],
      }),
    },
    'its pod "operator-1" in tools is not ready: secret "own-tls" not found',
    "kubectl -n tools describe pod operator-1",
  ],
  [
    "an image that cannot be pulled",
    { ...registered, ...service, ...pods(pod({ reason: "ImagePullBackOff", message: "Back-off pulling image" })) },
    "ImagePullBackOff: Back-off pulling image",
    "kubectl -n tools describe pod operator-1",
  ],
  [
    "an operator that ends again and again",
    { ...registered, ...service, ...pods(pod({ reason: "CrashLoopBackOff", message: "back-off 10s" })) },
    "CrashLoopBackOff: back-off 10s",
    "kubectl -n tools logs operator-1",
  ],
  [
    "pods that are all well: what the APIService says",
    { ...registered, ...service, ...pods(pod(undefined, "True")) },
    "endpointslices have no addresses",
    "kubectl describe apiservice",
  ],
  ["somebody who may see the APIService alone", registered, "endpointslices have no addresses", "cluster's owner"],
  ["somebody who may see nothing", {}, "service unavailable", "cluster's owner"],
])("%s", async (_, routes, reason, next) => {
  const why = await said(routes)
  expect(why?.reason).toContain(reason)
  expect(why?.next).toContain(next)
})

test("a certificate that the API server does not accept", async () => {
  const answer = "error trying to reach service: tls: failed to verify certificate: x509: unknown authority"
  const why = await said({ ...registered, ...service, ...pods(pod(undefined, "True")) }, answer)
  expect(why).toMatchObject({ reason: expect.stringContaining("x509"), next: expect.stringContaining("spec.caBundle") })
})

test("an operator that is required is an error with the same words", async () => {
  const down = () => statusAnswer(503, "ServiceUnavailable", "no endpoints")
  const fake = startFakeKube({
    routes: { [`GET ${operatorApi}`]: down, [`GET ${operatorApi}/mirrordoperators/operator`]: down, ...registered },
  })
  fakes.push(fake)
  await expect(
    findOperator(openKube({ kubeconfig: fake.kubeconfig }), { operator: true, startup_retry }),
  ).rejects.toMatchObject({
    code: "operator-out-of-service",
    message: "The cluster's operator is out of service: endpointslices have no addresses",
    next: expect.stringContaining("kubectl describe apiservice v1.operator.metalbear.co"),
  })
})
