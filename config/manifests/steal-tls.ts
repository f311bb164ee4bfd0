import * as v from "valibot"

/*
 * What a MirrordTlsStealConfig or MirrordClusterTlsStealConfig says: for which targets, and how agents end the TLS of which of their
 * ports. Paths are of the target container's file system. The kinds and names are mirrord's.
 */

const described = <S extends v.GenericSchema>(schema: S, text: string) => v.pipe(schema, v.description(text))
const path = v.pipe(v.string(), v.minLength(1))
const paths = v.nullish(v.array(path))
/** 1 to 255 bytes (RFC 7301). */
const alpnName = v.pipe(v.string(), v.regex(/^[!-~]{1,255}$/))
const flag = v.nullish(v.boolean())
const keyPair = v.object({
  certPem: described(path, "PEM file with the certificate and its chain."),
  keyPem: described(path, "PEM file with exactly one private key."),
})
const acceptAnyCert = described(flag, "Verify nothing.")
const trustRoots = described(paths, "PEM files, or folders of such.")

const selector = v.object({
  matchLabels: v.nullish(v.record(v.string(), v.string())),
  matchExpressions: v.nullish(
    v.array(
      v.object({
        key: v.string(),
        operator: v.picklist(["In", "NotIn", "Exists", "DoesNotExist"]),
        values: v.nullish(v.array(v.string())),
      }),
    ),
  ),
})

const port = v.object({
  port: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535)),
  agentAsServer: described(
    v.object({
      authentication: keyPair,
      alpnProtocols: described(v.nullish(v.array(alpnName)), "In order of preference; empty: no ALPN."),
      verification: described(
        v.nullish(v.object({ acceptAnyCert, allowAnonymous: flag, trustRoots })),
        "Absent: callers are not asked for a certificate.",
      ),
    }),
    "The agent towards callers.",
  ),
  agentAsClient: described(
    v.object({
      authentication: described(v.nullish(keyPair), "Absent: no certificate of its own."),
      verification: v.object({ acceptAnyCert, trustRoots }),
    }),
    "The agent towards the application.",
  ),
})

export const stealTlsSpec = v.object({
  targetPath: described(
    v.nullish(v.string()),
    "Target paths it is for, such as deploy/shop*; * and ? stand for any characters.",
  ),
  selector: described(v.nullish(selector), "Labels of the object a session names as its target."),
  ports: described(v.array(port), "Ports whose TLS agents end."),
})

export type StealTlsSpec = v.InferOutput<typeof stealTlsSpec>
export type StealTlsSelector = v.InferOutput<typeof selector>

const group = { group: "mirrord.metalbear.co", version: "v1alpha", spec: stealTlsSpec } as const
export const stealTlsKinds = {
  namespaced: {
    ...group,
    kind: "MirrordTlsStealConfig",
    plural: "mirrordtlsstealconfigs",
    scope: "Namespaced",
    about: "How agents end TLS for stolen traffic of targets in its namespace.",
  },
  cluster: {
    ...group,
    kind: "MirrordClusterTlsStealConfig",
    plural: "mirrordclustertlsstealconfigs",
    scope: "Cluster",
    about: "How agents end TLS for stolen traffic of targets in every namespace.",
  },
} as const
