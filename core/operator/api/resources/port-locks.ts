import type { Hono } from "hono"
import type { Operator } from "../../operator.ts"
import { lockedPort } from "../../session/live-session.ts"
import { targetKey } from "../../session/target-key.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { groupVersion } from "../resources.ts"
import { parseTargetName } from "../target-name.ts"

/** Which ports of a target are stolen, and by whom. */
export function addPortLockRoutes(app: Hono<FrontDoorEnv>, { locks }: Operator): void {
  app.get(`/apis/${groupVersion}/namespaces/:namespace/targets/:name/port-locks`, (c) => {
    const namespace = c.req.param("namespace")
    const name = c.req.param("name")
    const key = targetKey(namespace, parseTargetName(name))
    const items = locks.list().filter((lock) => lock.targetKey === key)
    return c.json({
      apiVersion: groupVersion,
      kind: "Target",
      metadata: { name, namespace },
      items: items.map((lock) => ({ session: lock.sessionId, ...lockedPort(lock) })),
    })
  })
}
