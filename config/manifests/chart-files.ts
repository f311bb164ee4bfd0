import { toJsonSchema } from "@valibot/to-json-schema"
import { Document, isMap, isScalar, stringify } from "yaml"
import { version } from "../../package.json"
import { customResources } from "./crds.ts"
import {
  authenticationRules,
  basicRules,
  ephemeralRules,
  impersonateRules,
  operatorRules,
  ownNamespaceRules,
  reviewRules,
  targetRules,
} from "./rules.ts"
import { readValues, valuesSchema } from "./values.ts"

/** Files of config/chart that are made from code: path below that folder to text. `bun config/manifests/write-chart.ts` writes them. */
export function chartFiles(): Record<string, string> {
  const rules = {
    operator: operatorRules,
    ephemeral: ephemeralRules,
    impersonate: impersonateRules,
    review: reviewRules,
    target: targetRules,
    basic: basicRules,
    ownNamespace: ownNamespaceRules,
    authentication: authenticationRules,
  }
  const schema = toJsonSchema(valuesSchema, { typeMode: "input" })
  const chart = {
    apiVersion: "v2",
    name: "podside-operator",
    description: "Lets a process on a developer's machine live inside a pod, with the cluster's owner in charge",
    type: "application",
    version: version,
    appVersion: version,
    kubeVersion: ">=1.26.0-0",
  }
  return {
    "Chart.yaml": stringify(chart),
    "generated/crds.json": `${JSON.stringify(customResources, null, 2)}\n`,
    "generated/rules.json": `${JSON.stringify(rules, null, 2)}\n`,
    "values.schema.json": `${JSON.stringify(schema, null, 2)}\n`,
    "values.yaml": `# Every value there is, with its default; values.schema.json says what each may be.\n\n${commented(schema)}`,
  }
}

interface Described {
  description?: string
  properties?: Record<string, Described | boolean>
}

/** The defaults as YAML, each below what its schema says about it. */
function commented(schema: Described): string {
  const document = new Document(readValues({}))
  const comment = (node: unknown, { properties = {} }: Described) => {
    if (!isMap(node)) return
    for (const { key, value } of node.items) {
      if (!isScalar(key)) continue
      const described = properties[String(key.value)]
      if (typeof described !== "object") continue
      if (described.description) key.commentBefore = ` ${described.description}`
      comment(value, described)
    }
  }
  comment(document.contents, schema)
  return document.toString({ lineWidth: 0 })
}
