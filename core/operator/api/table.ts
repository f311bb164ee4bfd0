import type { Context } from "hono"
import { age } from "./age.ts"
import type { FrontDoorEnv } from "./front-door.ts"
import { assertNoWatch } from "./list-options.ts"
import { type Column, group, groupVersion, servedResources } from "./resources.ts"

export interface ApiObject {
  metadata: {
    name: string
    namespace?: string
    creationTimestamp?: string
    labels?: Record<string, string>
    [more: string]: unknown
  }
  [more: string]: unknown
}

/** What of objects a caller wants: all of them, rows of a table (`kubectl get`), or their metadata (controllers). */
export interface Shape {
  form: "object" | "table" | "metadata"
  /** What stands in a table's rows beside the cells. `kubectl get --sort-by` wants the objects whole. */
  include: "Object" | "Metadata" | "None"
}

export function shapeOf(c: Context<FrontDoorEnv>): Shape {
  const asked = c.req.query("includeObject")
  return {
    form: formOf(c.req.header("accept") ?? ""),
    include: asked === "Object" || asked === "None" ? asked : "Metadata",
  }
}

/** The first form there is, as callers name the one they like best first; protocol buffers there are none. */
function formOf(accept: string): Shape["form"] {
  for (const clause of accept.split(",")) {
    const [type, ...parameters] = clause.split(";").map((part) => part.trim())
    if (type !== "application/json" && type !== "*/*" && type !== "application/*") continue
    if (parameters.includes("as=Table")) return "table"
    if (parameters.some((one) => one.startsWith("as=PartialObjectMetadata"))) return "metadata"
    return "object"
  }
  return "object"
}

/** Answers with one object. */
export function answerObject(c: Context<FrontDoorEnv>, plural: string, object: ApiObject): Response {
  return c.json(shapedObject(plural, object, shapeOf(c)))
}

/** @throws StatusError 405 when a watch was asked for: what can be watched is answered elsewhere */
export function answerList(
  c: Context<FrontDoorEnv>,
  plural: string,
  objects: readonly ApiObject[],
  resourceVersion = "",
): Response {
  assertNoWatch(c, `${plural}.${group}`)
  const shape = shapeOf(c)
  const metadata = { resourceVersion }
  if (shape.form === "table") return c.json(tableOf(plural, objects, shape, metadata))
  const items = objects.map((object) => shapedObject(plural, object, shape))
  const kind = shape.form === "metadata" ? "PartialObjectMetadataList" : `${described(plural).kind}List`
  const apiVersion = shape.form === "metadata" ? metaVersion : groupVersion
  return c.json({ apiVersion, kind, metadata, items })
}

/** @param columns whether a table tells of its columns, too; a watch does that once */
export function shapedObject(plural: string, object: ApiObject, shape: Shape, columns = true): object {
  if (shape.form === "table") {
    const resourceVersion = String(object.metadata["resourceVersion"] ?? "")
    return tableOf(plural, [object], shape, { resourceVersion }, columns)
  }
  return shape.form === "metadata" ? partial(object) : whole(plural, object)
}

/** An object of which nothing is known but a version, as bookmarks of a watch are. */
export function shapedBookmark(plural: string, metadata: object, { form }: Shape): object {
  if (form === "table") return { kind: "Table", apiVersion: metaVersion, metadata, columnDefinitions: [], rows: [] }
  if (form === "metadata") return { kind: "PartialObjectMetadata", apiVersion: metaVersion, metadata }
  return { apiVersion: groupVersion, kind: described(plural).kind, metadata }
}

const metaVersion = "meta.k8s.io/v1"

const whole = (plural: string, object: ApiObject) => ({
  apiVersion: groupVersion,
  kind: described(plural).kind,
  ...object,
})

const partial = ({ metadata }: ApiObject) => ({ kind: "PartialObjectMetadata", apiVersion: metaVersion, metadata })

/** meta.k8s.io/v1 Table: name first, then the columns of the resource. */
function tableOf(
  plural: string,
  objects: readonly ApiObject[],
  { include }: Shape,
  metadata: { resourceVersion: string },
  withColumns = true,
) {
  const columns = described(plural).columns ?? []
  return {
    kind: "Table",
    apiVersion: metaVersion,
    metadata,
    columnDefinitions: withColumns
      ? [
          { name: "Name", type: "string", format: "name", description: "Name of the object", priority: 0 },
          ...columns.map(({ name, type, description, priority }) => ({
            name,
            type,
            format: "",
            description,
            priority,
          })),
        ]
      : [],
    rows: objects.map((object) => ({
      cells: [object.metadata.name, ...columns.map((column) => shown(column, object))],
      ...(include === "None" ? {} : { object: include === "Object" ? whole(plural, object) : partial(object) }),
    })),
  }
}

/** kubectl prints cells as they are, dates too. */
function shown({ type, cell }: Column, object: ApiObject): string | number {
  const value = cell(object)
  return type === "date" ? age(String(value)) : value
}

function described(plural: string) {
  return servedResources.find((resource) => resource.plural === plural)!
}
