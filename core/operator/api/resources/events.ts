import type { Hono } from "hono"
import type { FrontDoorEnv } from "../front-door.ts"
import { groupVersion } from "../resources.ts"
import { notFound } from "../status.ts"

/** `mirrord subscribe` asks for what a session does as a stream; its user is to read that there is none. */
export function addEventRoutes(app: Hono<FrontDoorEnv>): void {
  app.get(`/apis/${groupVersion}/events`, () => {
    throw notFound(
      "This operator has no stream of session events (mirrord subscribe). Its audit is in its log and in Kubernetes Events",
    )
  })
}
