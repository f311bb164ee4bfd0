import { Hono } from "hono"
import type { RouteEnv } from "../../plugin.ts"
import type { Operator } from "../operator.ts"
import type { FrontDoorEnv } from "./front-door.ts"
import { addCopyTargetRoutes } from "./resources/copy-targets.ts"
import { addCredentialRoutes } from "./resources/credentials.ts"
import { addEventRoutes } from "./resources/events.ts"
import { addOperatorRoutes } from "./resources/mirrord-operator.ts"
import { addPortLockRoutes } from "./resources/port-locks.ts"
import { addSessionRoutes } from "./resources/sessions.ts"
import { addTargetRoutes } from "./resources/targets.ts"
import { groupVersion, servedResources } from "./resources.ts"
import { failure, failureHeaders, methodNotAllowed, notFound, toStatusError } from "./status.ts"

/** Every route behind the front door that is neither a fixed document nor an upgrade. Plugins come last and cannot take a route that is there. */
export function createApp(operator: Operator): Hono<FrontDoorEnv> {
  const app = new Hono<FrontDoorEnv>()
  app.use(async (c, next) => {
    c.set("identity", c.env.identity)
    await next()
  })
  app.onError((thrown, c) => {
    const refusal = toStatusError(thrown)
    if (refusal.code >= 500) operator.log.error("request failed", { error: thrown, path: c.req.path })
    return c.body(JSON.stringify(failure(refusal)), refusal.code as 500, failureHeaders(refusal))
  })
  app.notFound((c) => {
    throw isServed(c.req.path)
      ? methodNotAllowed("The server does not allow this method on the requested resource")
      : notFound("The server could not find the requested resource")
  })
  addOperatorRoutes(app, operator)
  addCredentialRoutes(app, operator)
  addTargetRoutes(app, operator)
  addCopyTargetRoutes(app)
  addPortLockRoutes(app, operator)
  addSessionRoutes(app, operator)
  addEventRoutes(app)
  operator.plugins.add("addRoutes", app as unknown as Hono<RouteEnv>)
  return app
}

const paths = servedResources.map(({ plural, namespaced }) => {
  const collection = namespaced ? `(namespaces/[^/]+/)?${plural}` : plural
  const object = namespaced ? `namespaces/[^/]+/${plural}/[^/]+` : `${plural}/[^/]+`
  return new RegExp(`^/apis/${groupVersion}/(${collection}|${object})$`)
})

/** Is it a resource's or an object's path, whatever may be done there? */
const isServed = (path: string): boolean => paths.some((shape) => shape.test(path))
