import { forbidden, gone } from "../api/status.ts"
import { formatSessionId, type SessionFacts } from "./live-session.ts"
import { targetKey } from "./target-key.ts"

/** Who comes, and for what. */
export interface Comer {
  user: string
  userId: string
  namespace: string
  target: SessionFacts["info"]["target"]
}

/** The id of a session is no secret: whoever names it must be who opened it. @throws StatusError 410, 403 */
export function assertMayJoin(
  session: SessionFacts & { closed?: unknown },
  { user, userId, namespace, target }: Comer,
): void {
  const { info } = session
  const name = `Session ${formatSessionId(session.number)}`
  if (info.identity.user !== user || session.userId !== userId) {
    throw forbidden(`${name} belongs to another user or another machine`)
  }
  if (session.closed) throw gone(`${name} is closed`)
  if (targetKey(info.namespace, info.target) !== targetKey(namespace, target)) {
    throw forbidden(`${name} is for another target`)
  }
}
