import { createHash } from "node:crypto"
import { toJsonSchema } from "@valibot/to-json-schema"
import { podsideVersion } from "../../cli/version.ts"
import { type FixedDocuments, jsonDocument } from "./documents.ts"
import { group, groupVersion, type ServedResource, servedResources, version } from "./resources.ts"

/*
 * OpenAPI documents, so that `kubectl explain` can tell about the objects. Version 2 serves the API server's merged
 * document, version 3 is one document for the group.
 */

const info = { title: "podside operator", version: podsideVersion }
const root = `/apis/${groupVersion}`

export function openApiDocuments(): FixedDocuments {
  const v2 = jsonDocument(documentV2())
  const v3 = jsonDocument(documentV3())
  const hash = createHash("sha256").update(v3.body).digest("hex").toUpperCase()
  const index = jsonDocument({ paths: { [root.slice(1)]: { serverRelativeURL: `/openapi/v3${root}?hash=${hash}` } } })
  return new Map([
    ["/openapi/v2", () => v2],
    ["/openapi/v3", () => index],
    [`/openapi/v3${root}`, () => v3],
  ])
}

function documentV2() {
  return { swagger: "2.0", info, paths: pathsOf("v2"), definitions: schemasOf("#/definitions/") }
}

function documentV3() {
  return { openapi: "3.0.0", info, paths: pathsOf("v3"), components: { schemas: schemasOf("#/components/schemas/") } }
}

/** Keys of a schema that Swagger 2.0 knows. The API server refuses its whole merged document for one it does not. */
const swaggerKeys = ["type", "description", "properties", "items", "required", "additionalProperties", "enum", "format"]

/** The schema with nothing but what both versions know; what has no type may be anything. */
function plainSchema(schema: unknown): unknown {
  if (typeof schema !== "object" || schema === null) return schema
  const entries = Object.entries(schema).filter(([key]) => swaggerKeys.includes(key))
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (key === "properties") {
        return [key, Object.fromEntries(Object.entries(value as object).map(([name, of]) => [name, plainSchema(of)]))]
      }
      return [key, key === "items" || key === "additionalProperties" ? plainSchema(value) : value]
    }),
  )
}

const objectMetaName = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
const schemaName = (kind: string) => `co.metalbear.operator.${version}.${kind}`
const gvk = (kind: string) => ({ group, version, kind })

function schemasOf(refPrefix: string): Record<string, unknown> {
  const objects = servedResources.map((resource) => [schemaName(resource.kind), objectSchema(resource, refPrefix)])
  return {
    ...Object.fromEntries(objects),
    [objectMetaName]: { type: "object", description: "Standard object metadata." },
  }
}

function objectSchema({ kind, description, schema }: ServedResource, refPrefix: string) {
  const own = plainSchema(schema && toJsonSchema(schema, { target: "openapi-3.0", errorMode: "ignore" })) as
    | { properties?: object; required?: string[] }
    | undefined
  return {
    type: "object",
    description,
    properties: {
      apiVersion: { type: "string", description: "Version of the schema of this object." },
      kind: { type: "string", description: "Kind of this object." },
      metadata: { $ref: `${refPrefix}${objectMetaName}` },
      ...own?.properties,
    },
    ...(own?.required?.length && { required: own.required }),
    "x-kubernetes-group-version-kind": [gvk(kind)],
  }
}

function pathsOf(form: "v2" | "v3"): Record<string, unknown> {
  return Object.fromEntries(
    servedResources.flatMap((resource) => {
      const { plural, kind, namespaced, verbs } = resource
      const base = namespaced ? `${root}/namespaces/{namespace}/${plural}` : `${root}/${plural}`
      const collection = verbs.includes("create") ? { post: operation("create", kind, form) } : {}
      const list = verbs.includes("list") ? { get: operation("list", kind, form) } : {}
      return [
        [base, { ...list, ...collection, parameters: parameters(namespaced, false, form) }],
        [`${base}/{name}`, { get: operation("get", kind, form), parameters: parameters(namespaced, true, form) }],
      ]
    }),
  )
}

function operation(action: "get" | "list" | "create", kind: string, form: "v2" | "v3") {
  const verb = action === "create" ? "post" : action
  const operationId = `${action}OperatorMetalbearCoV1${kind}`
  return {
    operationId,
    description: `${action} ${kind}`,
    "x-kubernetes-action": verb,
    "x-kubernetes-group-version-kind": gvk(kind),
    ...(form === "v2" ? { produces: ["application/json"] } : {}),
    responses: { "200": { description: "OK" } },
  }
}

function parameters(namespaced: boolean, named: boolean, form: "v2" | "v3") {
  const type = form === "v2" ? { type: "string" } : { schema: { type: "string" } }
  const one = (name: string) => ({ name, in: "path", required: true, ...type })
  return [...(namespaced ? [one("namespace")] : []), ...(named ? [one("name")] : [])]
}
