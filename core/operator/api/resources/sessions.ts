import type { Context, Hono } from "hono"
import * as v from "valibot"
import type { PortLock } from "../../locks/port-locks.ts"
import type { Operator } from "../../operator.ts"
import { sessionSpec } from "../../session/live-session.ts"
import type { ListedSession } from "../../session/registry.ts"
import type { SessionChanges } from "../../session/session-changes.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { type ListOptions, readListOptions } from "../list-options.ts"
import { parseJson, readText } from "../read-body.ts"
import { groupVersion } from "../resources.ts"
import { fieldSelector, labelSelector } from "../selectors.ts"
import { badRequest, conflict, notFound, StatusError, success } from "../status.ts"
import { type ApiObject, answerList, answerObject, shapeOf } from "../table.ts"
import { Watches } from "../watches.ts"

const plural = "sessions"
const root = `/apis/${groupVersion}`
/** In place of an id: every session nobody is connected to. */
const inactive = "inactive"
/** Records written at once when many sessions are ended. */
const endedAtOnce = 20
/** Longest body of a deletion. */
const maxBodyBytes = 64 * 1024
/** How long this replica may take to know what another one has told a caller already, in milliseconds. */
const catchUpMs = 3_000

/** Listing, watching and ending sessions. RBAC on the resource decides who may; ids are decimal or hexadecimal. */
export function addSessionRoutes(app: Hono<FrontDoorEnv>, operator: Operator): void {
  const { sessions, locks, changes } = operator
  const watches = new Watches(changes)
  const object = (session: ListedSession, locked = locks.list()) =>
    sessionObject(session, locked, changes.versionOf(session.info.id) ?? session.version)
  const list = async (c: Context<FrontDoorEnv>) => {
    const options = readListOptions(c)
    const chosen = selected(c)
    if (!options.watch || options.sendInitialEvents) await caughtUp(changes, options)
    if (options.watch) {
      return watches.open(c.get("identity").user, {
        plural,
        options,
        shape: shapeOf(c),
        chosen,
        object: (view) => sessionObject(view, view.locks, view.version),
      })
    }
    const { version } = changes
    const locked = locks.list()
    const objects = sessions.list().filter(chosen)
    return answerList(
      c,
      plural,
      objects.map((session) => object(session, locked)),
      String(version),
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
  const end = async (
    c: Context<FrontDoorEnv>,
    chosen: readonly ListedSession[],
    close = (session: ListedSession, why: string) => sessions.close(session, why, true),
  ) => {
    const { dryRun, preconditions } = await deleteOptions(c)
    if (preconditions?.uid && chosen.some(({ uid }) => uid !== preconditions.uid))
      throw conflict(`The precondition failed: ${sessionsText(chosen)} is not the one with uid ${preconditions.uid}`)
    if (dryRun) return c.json(success(`${sessionsText(chosen)} would be ended`))
    const why = `it was ended by ${c.get("identity").user}`
    for (let i = 0; i < chosen.length; i += endedAtOnce) {
      await Promise.all(chosen.slice(i, i + endedAtOnce).map((session) => close(session, why)))
    }
    return c.json(success(`${sessionsText(chosen)} ${chosen.length === 1 ? "was" : "were"} ended`))
  }
  const collection = (c: Context<FrontDoorEnv>) => sessions.list().filter(selected(c))

  for (const base of [`${root}/sessions`, `${root}/namespaces/:namespace/sessions`]) {
    app.get(base, list)
    app.get(`${base}/:id`, (c) => answerObject(c, plural, object(found(c))))
    app.delete(base, (c) => end(c, collection(c)))
    app.delete(`${base}/${inactive}`, (c) =>
      end(
        c,
        collection(c).filter(({ connected }) => !connected),
        (session, why) => sessions.closeInactive(session, why),
      ),
    )
    app.delete(`${base}/:id`, (c) => end(c, [found(c)]))
  }
}

function sessionObject(session: ListedSession, locked: readonly PortLock[], version: bigint): ApiObject {
  const { id, namespace, openedAt } = session.info
  return {
    metadata: {
      name: id,
      namespace,
      uid: session.uid,
      resourceVersion: String(version),
      creationTimestamp: openedAt.toISOString().replace(/\.\d+Z$/, "Z"),
    },
    spec: { session: sessionSpec(session, locked) },
  }
}

const sessionsText = (chosen: readonly ListedSession[]) =>
  chosen.length === 1 ? `Session ${chosen[0]!.info.id}` : `${chosen.length} sessions`

const deleteOptionsSchema = v.object({
  dryRun: v.nullish(v.array(v.string())),
  preconditions: v.nullish(v.object({ uid: v.nullish(v.string()) })),
})

/** The options of a deletion stand in its body, or in its query (`kubectl delete --dry-run=server`). @throws StatusError 400, 413 */
async function deleteOptions(c: Context<FrontDoorEnv>) {
  const body = await readText(c, maxBodyBytes)
  const options = v.safeParse(deleteOptionsSchema, body === "" ? {} : parseJson(body))
  if (!options.success) throw badRequest(`Cannot read the options of the deletion: ${options.issues[0].message}`)
  const { dryRun, preconditions } = options.output
  return { dryRun: c.req.query("dryRun") || (dryRun ?? []).length > 0, preconditions }
}

/** By what sessions are selected; kubectl looks by name whether what it deleted is gone. */
const fields: Readonly<Record<string, (session: ListedSession) => string>> = {
  "metadata.name": ({ info }) => info.id,
  "metadata.namespace": ({ info }) => info.namespace,
  "spec.session.key": ({ key }) => key ?? "",
}

/** What the path and the selectors of a request choose. Sessions have no labels. @throws StatusError 400 */
function selected(c: Context<FrontDoorEnv>): (session: ListedSession) => boolean {
  const namespace = c.req.param("namespace")
  const hasLabels = labelSelector(c.req.query("labelSelector"))({})
  const hasFields = fieldSelector(c.req.query("fieldSelector"), fields)
  return (session) =>
    hasLabels && (namespace === undefined || session.info.namespace === namespace) && hasFields(session)
}

/** A caller that has been told of a version is not told of an older one. @throws StatusError 504 */
async function caughtUp(changes: SessionChanges, { resourceVersion }: ListOptions): Promise<void> {
  if (await changes.reached(resourceVersion, catchUpMs)) return
  throw new StatusError(
    504,
    "Timeout",
    `Too large resource version: ${resourceVersion}, current: ${changes.version}`,
    1,
  )
}
