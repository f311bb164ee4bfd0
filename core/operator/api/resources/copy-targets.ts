import type { Hono } from "hono"
import type { FrontDoorEnv } from "../front-door.ts"
import { assertNoWatch } from "../list-options.ts"
import { group, groupVersion } from "../resources.ts"
import { forbidden, notFound } from "../status.ts"

const path = `/apis/${groupVersion}/namespaces/:namespace/copytargets`

/**
 * Copies are not made here, but clients ask for one all the same when their target is a Job, a CronJob or a Deployment
 * without pods: first for those there are, then for a new one. Its user is to read why there is none.
 */
export function addCopyTargetRoutes(app: Hono<FrontDoorEnv>): void {
  app.get(path, (c) => {
    assertNoWatch(c, `copytargets.${group}`)
    return c.json({ apiVersion: groupVersion, kind: "CopyTargetList", metadata: { resourceVersion: "" }, items: [] })
  })
  app.get(`${path}/:name`, (c) => {
    throw notFound(`There is no copied target "${c.req.param("name").slice(0, 300)}"`)
  })
  app.post(path, () => {
    throw forbidden(
      "This operator does not copy targets, which Jobs, CronJobs and Deployments without pods would need. Choose a workload that runs, and leave out feature.copy_target",
    )
  })
}
