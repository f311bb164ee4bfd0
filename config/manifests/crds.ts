import { toJsonSchema } from "@valibot/to-json-schema"
import * as v from "valibot"
import { profileChanges } from "../profile.ts"
import { stealTlsKinds } from "./steal-tls.ts"

/*
 * Stored kinds that mirrord's clients or operator read. Group, names and shapes are theirs; the schemas stand here once, as valibot schemas.
 */

/** Settings an organisation names, which a client applies to its own configuration before it starts. */
export const profileSpec = v.object({
  featureAdjustments: v.array(
    v.object({
      change: v.pipe(
        v.picklist(profileChanges),
        v.description("What is changed in the client's configuration, in the order of the list."),
      ),
    }),
  ),
})

interface StoredKind {
  group: string
  version: string
  kind: string
  plural: string
  scope: "Namespaced" | "Cluster"
  spec: v.GenericSchema
}

const profiles = { group: "profiles.mirrord.metalbear.co", version: "v1alpha", spec: profileSpec }

const kinds: readonly StoredKind[] = [
  { ...profiles, kind: "MirrordProfile", plural: "mirrordprofiles", scope: "Namespaced" },
  { ...profiles, kind: "MirrordClusterProfile", plural: "mirrordclusterprofiles", scope: "Cluster" },
  ...Object.values(stealTlsKinds),
]

/** CustomResourceDefinitions, without labels. Removing them removes every object of theirs, so the chart keeps them. */
export const customResources = kinds.map(({ group, version, kind, plural, scope, spec }) => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `${plural}.${group}`, annotations: { "helm.sh/resource-policy": "keep" } },
  spec: {
    group,
    scope,
    names: { kind, plural, singular: kind.toLowerCase() },
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            required: ["spec"],
            properties: { spec: toJsonSchema(spec, { target: "openapi-3.0" }) },
          },
        },
      },
    ],
  },
}))
