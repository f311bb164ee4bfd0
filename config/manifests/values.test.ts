import { describe, expect, test } from "bun:test"
import { toJsonSchema } from "@valibot/to-json-schema"
import { readOperatorSettings } from "../operator.ts"
import { manifests } from "./objects.ts"
import { readValues, valuesSchema } from "./values.ts"

interface Described {
  type?: string
  description?: string
  properties?: Record<string, Described>
  items?: Described
  anyOf?: Described[]
  enum?: unknown[]
  minimum?: number
  maximum?: number
}
type Tree = { [key: string]: unknown }

/** Keys of a path are parted by a space: some have dots of their own. */
const between = " "

/** Every value by its path. What agent.extraConfig holds is described where the client's file is. */
function leaves(schema: Described, path: string[] = []): [path: string, schema: Described][] {
  if (!schema.properties || path.join(between) === "agent extraConfig") return [[path.join(between), schema]]
  return Object.entries(schema.properties).flatMap(([key, inner]) => leaves(inner, [...path, key]))
}
const every = leaves(toJsonSchema(valuesSchema, { typeMode: "input" }) as Described)

function withValue(base: Tree, path: string, value: unknown): Tree {
  const copy = structuredClone(base)
  const keys = path.split(between)
  const last = keys.pop()!
  let place = copy
  for (const key of keys) place = (place[key] ??= {}) as Tree
  place[last] = value
  return copy
}

const defaultOf = (path: string) =>
  path.split(between).reduce<unknown>((values, key) => (values as Tree)[key], readValues({}))

/** Something the schema allows and the default is not. */
function other(path: string, { type, enum: choices, anyOf, items, maximum }: Described): unknown {
  const otherwise = defaultOf(path)
  if (path === "agent extraConfig") return { log_level: "debug" }
  if (choices) return choices.find((choice) => choice !== otherwise)
  if (anyOf) return 7777
  if (type === "boolean") return !otherwise
  if (type === "integer") return Number(otherwise) + (otherwise === maximum ? -1 : 1)
  if (type === "string") return `${otherwise}x`
  if (type === "array") return [items?.type === "string" ? "x" : { name: "x" }]
  return { x: "y" }
}

/** A value may matter only beside another one. */
const bases: Tree[] = [
  {},
  { roleNamespaces: ["team"] },
  { tls: { certManager: { enabled: true } } },
  { tls: { certManager: { enabled: true, createIssuer: false } } },
  { tls: { data: { "tls.crt": "c", "tls.key": "k" } } },
  { agent: { priorityClass: { create: true } } },
]
const installed = (values: Tree) => JSON.stringify(manifests(readValues(values)))
const works = (values: Tree): string | undefined => {
  try {
    return installed(values)
  } catch {
    return undefined
  }
}

describe.each(every)("%s", (path, schema) => {
  test("says what it is for", () => {
    expect(schema.description).toMatch(/\.$/)
  })

  test("changes what is installed", () => {
    const changed = bases.some((base) => {
      const now = works(withValue(base, path, other(path, schema)))
      return now !== undefined && now !== installed(base)
    })
    expect(changed).toBe(true)
  })
})

test("there are values to look at", () => expect(every.length).toBeGreaterThan(50))

/** The operator's environment as its pod would have it, without what the node fills in. */
function settings(values: Tree) {
  const deployment = manifests(readValues(values)).find(({ kind }) => kind === "Deployment") as unknown as {
    spec: { template: { spec: { containers: { env: { name: string; value?: string }[] }[] } } }
  }
  const { env } = deployment.spec.template.spec.containers[0]!
  return readOperatorSettings(Object.fromEntries(env.map(({ name, value }) => [name, value])))
}

test("whatever number the schema allows, the operator starts with it; the next one is refused before anything is installed", () => {
  const limited = every.filter(([, { minimum, maximum }]) => minimum !== undefined && maximum !== undefined)
  expect(limited.length).toBeGreaterThan(5)
  for (const [path, { minimum, maximum }] of limited) {
    for (const allowed of [minimum!, maximum!]) settings(withValue({}, path, allowed))
    for (const beyond of [minimum! - 1, maximum! + 1])
      expect(() => readValues(withValue({}, path, beyond))).toThrow(`"${path.replaceAll(between, ".")}" must be`)
  }
})

test("a key of the agents' settings that the operator does not know is refused before anything is installed", () => {
  expect(settings({ agent: { extraConfig: { log_level: "debug" } } }).agent.options).toMatchObject({
    logLevel: "debug",
  })
  expect(() => readValues({ agent: { extraConfig: { log_levle: "debug" } } })).toThrow("agent.extraConfig.log_levle")
})

test("every wrong key is named at once, with the one that was meant", () => {
  expect(() => readValues({ operator: { replcas: 2, logLevel: "loud" }, tlss: {} })).toThrow(
    'unknown key "operator.replcas". Did you mean "replicas"?; unknown key "tlss". Did you mean "tls"?; "operator.logLevel" must be "debug" or "info" or "warn" or "error", not "loud"',
  )
})
