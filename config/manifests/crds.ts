import { toJsonSchema } from "@valibot/to-json-schema"
import * as v from "valibot"
import { profileChanges } from "../profile.ts"
import { stealTlsKinds } from "./steal-tls.ts"

/*
 * Stored kinds that mirrord's clients or operator read. Group, names and shapes are theirs; the schemas stand here once, as valibot schemas.
 */

/** Settings an organisation names, which a client applies to its own configuration before it starts. */
export const profileSpec = v.object({
  featureAdjustments: v.pipe(
    v.array(
      v.object({
        change: v.pipe(v.picklist(profileChanges), v.description("What is changed in the client's configuration.")),
      }),
    ),
    v.description("Applied one after the other, over the client's own configuration."),
  ),
})

interface StoredKind {
  group: string
  version: string
  kind: string
  plural: string
  scope: "Namespaced" | "Cluster"
  spec: v.GenericSchema
  /** What `kubectl explain` says of the kind. */
  about: string
}

const profiles = { group: "profiles.mirrord.metalbear.co", version: "v1alpha", spec: profileSpec } as const

const kinds: readonly StoredKind[] = [
  {
    ...profiles,
    kind: "MirrordProfile",
    plural: "mirrordprofiles",
    scope: "Namespaced",
    about: "Settings that clients apply by name, for targets in its namespace: profile `namespace/name`.",
  },
  {
    ...profiles,
    kind: "MirrordClusterProfile",
    plural: "mirrordclusterprofiles",
    scope: "Cluster",
    about: "Settings that clients apply by name, whatever the target: profile `name`.",
  },
  ...Object.values(stealTlsKinds),
]

/** CustomResourceDefinitions, without labels. Removing them removes every object of theirs, so the chart keeps them. */
export const customResources = kinds.map(({ group, version, kind, plural, scope, spec, about }) => ({
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
            description: about,
            required: ["spec"],
            properties: { spec: toJsonSchema(spec, { target: "openapi-3.0" }) },
          },
        },
      },
    ],
  },
}))
