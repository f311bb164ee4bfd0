import type { Context, Hono } from "hono"
import type { Operator } from "../../operator.ts"
import { type SessionFacts, sessionSpec } from "../../session/live-session.ts"
import type { ListedSession } from "../../session/registry.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { groupVersion } from "../resources.ts"
import { badRequest, notFound, success } from "../status.ts"
import { type ApiObject, answerList, answerObject } from "../table.ts"

const plural = "sessions"
const root = `/apis/${groupVersion}`
/** In place of an id: every session nobody is connected to. */
const inactive = "inactive"
/** Records written at once when many sessions are ended. */
const endedAtOnce = 20

/** Listing and ending sessions. RBAC on the resource decides who may; ids are decimal or hexadecimal. */
export function addSessionRoutes(app: Hono<FrontDoorEnv>, operator: Operator): void {
  const { sessions, locks } = operator
  const list = (c: Context<FrontDoorEnv>) => {
    const key = keySelector(c.req.query("fieldSelector"))
    const namespace = c.req.param("namespace")
    const chosen = sessions.list().filter((session) => {
      const inPlace = namespace === undefined || session.info.namespace === namespace
      return inPlace && (key === undefined || session.key === key)
    })
    const locked = locks.list()
    return answerList(
      c,
      plural,
      chosen.map((session) => sessionObject(session, locked)),
    )
  }
  const found = (c: Context<FrontDoorEnv>): ListedSession => {
    const id = c.req.param("id")!
    const namespace = c.req.param("namespace")
    const session = sessions.byText(id)
    if (!session || (namespace !== undefined && session.info.namespace !== namespace)) {
      throw notFound(`There is no session "${id.slice(0, 100)}"`)
    }
    return session
  }
  const end = async (c: Context<FrontDoorEnv>, chosen: readonly ListedSession[]) => {
    const why = `it was ended by ${c.get("identity").user}`
    for (let i = 0; i < chosen.length; i += endedAtOnce) {
      await Promise.all(chosen.slice(i, i + endedAtOnce).map((session) => sessions.close(session, why, true)))
    }
    return c.json(
      success(chosen.length === 1 ? `Session ${chosen[0]!.info.id} was ended` : `${chosen.length} sessions were ended`),
    )
  }
  const inPlace = (c: Context<FrontDoorEnv>) => {
    const namespace = c.req.param("namespace")
    return sessions.list().filter((session) => namespace === undefined || session.info.namespace === namespace)
  }

  for (const base of [`${root}/sessions`, `${root}/namespaces/:namespace/sessions`]) {
    app.get(base, list)
    app.get(`${base}/:id`, (c) => answerObject(c, plural, sessionObject(found(c), locks.list())))
    app.delete(base, (c) => end(c, inPlace(c)))
    app.delete(`${base}/${inactive}`, (c) =>
      end(
        c,
        inPlace(c).filter(({ connected }) => !connected),
      ),
    )
    app.delete(`${base}/:id`, (c) => end(c, [found(c)]))
  }
}

function sessionObject(session: SessionFacts, locked: Parameters<typeof sessionSpec>[1]): ApiObject {
  const { id, namespace, openedAt } = session.info
  return {
    metadata: { name: id, namespace, creationTimestamp: openedAt.toISOString().replace(/\.\d+Z$/, "Z") },
    spec: { session: sessionSpec(session, locked) },
  }
}

/** `spec.session.key=K`; `\`, `,` and `=` in K are escaped by a backslash. */
function keySelector(selector: string | undefined): string | undefined {
  if (!selector) return undefined
  const match = /^spec\.session\.key==?((?:[^\\,=]|\\[\\,=])*)$/.exec(selector)
  if (match?.[1] === undefined) throw badRequest("Only the field selector spec.session.key=KEY is supported")
  return match[1].replace(/\\(.)/g, "$1")
}
