import type { Duplex } from "node:stream"
import type { Operator } from "../operator.ts"
import { connectTarget } from "./connect.ts"
import { ConnectLimit } from "./connect-limit.ts"
import type { Upgrade } from "./front-door.ts"
import { groupVersion } from "./resources.ts"
import { acceptClient, assertUpgradable } from "./sockets.ts"
import { badRequest, notFound } from "./status.ts"
import { splitUrl, type UpgradeRequest } from "./upgrade-request.ts"

const root = `/apis/${groupVersion}`
/** With and without the path element that RBAC sees as the verb `proxy`. */
const targetPath = new RegExp(`^${root}/(?:proxy/)?namespaces/([^/]+)/targets/([^/]+)$`)
const pingPath = `${root}/mirrordoperators/operator/ping`

/** The routes that become WebSockets. */
export function createUpgrades(operator: Operator): Upgrade {
  const limit = new ConnectLimit(operator.settings.maxConnectsPerUser)
  return async (request, socket, early, identity) => {
    const [path, query] = splitUrl(request.url)
    const target = targetPath.exec(path)
    if (!target && path !== pingPath) throw notFound("There is nothing to connect to here")
    assertUpgradable(request)
    if (!target) return answerPings(request, socket, early)
    const [namespace, name] = [decoded(target[1]!), decoded(target[2]!)]
    await limit.run(identity.user, () =>
      connectTarget(operator, { request, socket, early, identity, namespace, name, query }),
    )
  }
}

/** For `diagnose latency`: answers pings and nothing else. */
function answerPings(request: UpgradeRequest, socket: Duplex, early: () => Buffer): void {
  const client = acceptClient(request, socket, early)
  client.receive((message) => {
    if (message.kind === "Ping") client.send({ kind: "Pong" })
    else client.close()
  })
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw badRequest("The path cannot be decoded")
  }
}
