import { expect, test } from "bun:test"
import { loadConfig } from "../../../../config/load.ts"
import { parseTarget } from "../../../target.ts"
import { connectRequest, sessionIdText, targetName } from "./connect-url.ts"
import type { Operator } from "./find.ts"

const operator = (...features: string[]): Operator => ({
  description: {} as Operator["description"],
  supports: (feature) => features.includes(feature),
  headers: { "x-client-name": "ann" },
  retry: { min_ms: 1, max_ms: 1, max_retries: 0 },
})
const session = { id: 0x4d2n, certificate: "Y2VydA==", branch: "main" }

test("the request names target, session and what the operator decides by", async () => {
  const { config } = await loadConfig({ environment: { MIRRORD_KEY: "k1" } })
  const request = connectRequest(operator("ProxyApi"), parseTarget("deploy/web/container/app"), "shop", config, session)
  expect(request.path).toBe(
    "/apis/operator.metalbear.co/v1/proxy/namespaces/shop/targets/deployment.web.container.app?connect=true&on_concurrent_steal=abort&branch_name=main&key=k1",
  )
  expect(request.headers).toEqual({ "x-client-name": "ann", "x-client-der": "Y2VydA==", "x-session-id": "1234" })
  expect(sessionIdText(session.id)).toBe("4D2")
})

test("with the feature, parameters travel in a header and the path says only that it is a connect", async () => {
  const { config } = await loadConfig({ environment: { MIRRORD_KEY: "k1" } })
  const { path, headers } = connectRequest(
    operator("ConnectParamsInHeader"),
    parseTarget("pod/a"),
    "shop",
    config,
    session,
  )
  expect(path).toBe("/apis/operator.metalbear.co/v1/namespaces/shop/targets/pod.a?connect=true")
  expect(atob(headers["x-mirrord-connect-params"]!)).toBe(
    "connect=true&on_concurrent_steal=abort&branch_name=main&key=k1",
  )
})

test.each([
  ["statefulset/db", "statefulset.db"],
  ["cronjob/n", "cronjob.n"],
  ["label/app=web", "label"],
  ["targetless", "targetless"],
])("%s is called %s", (target, name) => {
  expect(targetName(parseTarget(target))).toBe(name)
})
