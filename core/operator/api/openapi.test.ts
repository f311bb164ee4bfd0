import { expect, test } from "bun:test"
import { openApiDocuments } from "./openapi.ts"

const documents = openApiDocuments()
// biome-ignore lint/suspicious/noExplicitAny: a document is looked at, not typed
const get = (path: string): any => JSON.parse(String(documents.get(path.split("?")[0]!)?.("").body))

/** Every key used in a schema, however deep, except the names of properties. */
function keysOf(schema: unknown): string[] {
  if (typeof schema !== "object" || schema === null) return []
  return Object.entries(schema).flatMap(([key, value]) => {
    if (key === "properties") return [key, ...Object.values(value as object).flatMap(keysOf)]
    return key === "items" || key === "additionalProperties" ? [key, ...keysOf(value)] : [key]
  })
}

test("the version 2 document has only keys of Swagger 2.0: one other key breaks the API server's own document", () => {
  const { definitions, swagger } = get("/openapi/v2")
  expect(swagger).toBe("2.0")
  const known = [
    "type",
    "description",
    "properties",
    "items",
    "required",
    "additionalProperties",
    "enum",
    "format",
    "$ref",
  ]
  const used = new Set(Object.values(definitions).flatMap(keysOf))
  for (const key of used) if (!key.startsWith("x-kubernetes-")) expect(known).toContain(key)
  expect(Object.keys(definitions)).toContain("co.metalbear.operator.v1.Session")
})

test("every reference leads somewhere, in both versions", () => {
  const { paths } = get("/openapi/v3")
  const v3 = get((Object.values(paths) as { serverRelativeURL: string }[])[0]!.serverRelativeURL)
  const v2 = get("/openapi/v2")
  for (const [document, names] of [
    [v2, Object.keys(v2.definitions)],
    [v3, Object.keys(v3.components.schemas)],
  ] as const) {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/[^"]*\/([^"/]+)"/g)].map(([, name]) => name)
    expect(references.length).toBeGreaterThan(0)
    for (const name of references) expect(names).toContain(name!)
  }
})
