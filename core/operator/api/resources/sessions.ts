import type { Context, Hono } from "hono"
import * as v from "valibot"
import type { Operator } from "../../operator.ts"
import { type SessionFacts, sessionSpec } from "../../session/live-session.ts"
import type { ListedSession } from "../../session/registry.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { parseJson, readText } from "../read-body.ts"
import { groupVersion } from "../resources.ts"
import { badRequest, notFound, success } from "../status.ts"
import { type ApiObject, answerList, answerObject } from "../table.ts"

const plural = "sessions"
const root = `/apis/${groupVersion}`
/** In place of an id: every session nobody is connected to. */
const inactive = "inactive"
/** Records written at once when many sessions are ended. */
const endedAtOnce = 20
/** Longest body of a deletion. */
const maxBodyBytes = 64 * 1024

/** Listing and ending sessions. RBAC on the resource decides who may; ids are decimal or hexadecimal. */
export function addSessionRoutes(app: Hono<FrontDoorEnv>, operator: Operator): void {
  const { sessions, locks } = operator
  const list = (c: Context<FrontDoorEnv>) => {
    const { key, name } = fieldSelector(c.req.query("fieldSelector"))
    const namespace = c.req.param("namespace")
    const chosen = sessions.list().filter((session) => {
      const inPlace = namespace === undefined || session.info.namespace === namespace
      return inPlace && (key === undefined || session.key === key) && (name === undefined || session.info.id === name)
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
    if (await isDryRun(c)) return c.json(success(`${sessionsText(chosen)} would be ended`))
    const why = `it was ended by ${c.get("identity").user}`
    for (let i = 0; i < chosen.length; i += endedAtOnce) {
      await Promise.all(chosen.slice(i, i + endedAtOnce).map((session) => sessions.close(session, why, true)))
    }
    return c.json(success(`${sessionsText(chosen)} ${chosen.length === 1 ? "was" : "were"} ended`))
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

const sessionsText = (chosen: readonly ListedSession[]) =>
  chosen.length === 1 ? `Session ${chosen[0]!.info.id}` : `${chosen.length} sessions`

const deleteOptions = v.object({ dryRun: v.nullish(v.array(v.string())) })

/** `kubectl delete --dry-run=server`: the options of a deletion stand in its body or in its query. @throws StatusError 400, 413 */
async function isDryRun(c: Context<FrontDoorEnv>): Promise<boolean> {
  if (c.req.query("dryRun")) return true
  const body = await readText(c, maxBodyBytes)
  const options = v.safeParse(deleteOptions, body === "" ? {} : parseJson(body))
  if (!options.success) throw badRequest(`Cannot read the options of the deletion: ${options.issues[0].message}`)
  return (options.output.dryRun ?? []).length > 0
}

const selectable = new Map([
  ["spec.session.key", "key"],
  // kubectl looks with this whether what it deleted is gone.
  ["metadata.name", "name"],
])

/** `spec.session.key=K`; `\`, `,` and `=` in K are escaped by a backslash. */
function fieldSelector(selector: string | undefined): { key?: string; name?: string } {
  if (!selector) return {}
  const match = /^([\w.]+)==?((?:[^\\,=]|\\[\\,=])*)$/.exec(selector)
  const field = selectable.get(match?.[1] ?? "")
  if (!field) throw badRequest("Only the field selectors spec.session.key=KEY and metadata.name=NAME are supported")
  return { [field]: match![2]!.replace(/\\(.)/g, "$1") }
}
