import type { Context } from "hono"
import { age } from "./age.ts"
import type { FrontDoorEnv } from "./front-door.ts"
import { type Column, groupVersion, servedResources } from "./resources.ts"

export interface ApiObject {
  metadata: { name: string; namespace?: string; creationTimestamp?: string; [more: string]: unknown }
  [more: string]: unknown
}

/** Answers with one object, or with the table `kubectl get` asks for. */
export function answerObject(c: Context<FrontDoorEnv>, plural: string, object: ApiObject): Response {
  const whole = { apiVersion: groupVersion, kind: described(plural).kind, ...object }
  return c.json(wantsTable(c) ? tableOf(c, plural, [whole]) : whole)
}

export function answerList(c: Context<FrontDoorEnv>, plural: string, objects: readonly ApiObject[]): Response {
  const { kind } = described(plural)
  const items = objects.map((object) => ({ apiVersion: groupVersion, kind, ...object }))
  if (wantsTable(c)) return c.json(tableOf(c, plural, items))
  return c.json({ apiVersion: groupVersion, kind: `${kind}List`, metadata: { resourceVersion: "" }, items })
}

function wantsTable(c: Context<FrontDoorEnv>): boolean {
  const accept = c.req.header("accept") ?? ""
  return /as=Table/.test(accept) && /g=meta\.k8s\.io/.test(accept)
}

/** meta.k8s.io/v1 Table: name first, then the columns of the resource. `kubectl get --sort-by` wants the objects whole. */
function tableOf(c: Context<FrontDoorEnv>, plural: string, objects: readonly ApiObject[]) {
  const columns = described(plural).columns ?? []
  const isWhole = c.req.query("includeObject") === "Object"
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: { resourceVersion: "" },
    columnDefinitions: [
      { name: "Name", type: "string", format: "name", description: "Name of the object", priority: 0 },
      ...columns.map(({ name, type, description, priority }) => ({ name, type, format: "", description, priority })),
    ],
    rows: objects.map((object) => ({
      cells: [object.metadata.name, ...columns.map((column) => shown(column, object))],
      object: isWhole
        ? object
        : { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata },
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
