import type { SessionAgents } from "../../core/operator/session/session-agents.ts"
import type { Session } from "../../core/session.ts"

/** A session of Ann's with a deployment. */
export const annsSession: Session = {
  id: "4D2",
  openedAt: new Date(),
  identity: { user: "ann", groups: [], extra: {} },
  target: { kind: "deployment", name: "web" },
  namespace: "shop",
  labels: {},
  client: {},
}

/** Of a target without pods. */
export const noAgents: SessionAgents = {
  primary: () => undefined,
  all: () => [],
  pods: () => [],
  follow: async () => {},
  onChange: () => () => {},
  close: () => {},
}
