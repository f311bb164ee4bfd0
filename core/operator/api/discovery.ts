import { type FixedDocument, type FixedDocuments, jsonDocument } from "./documents.ts"
import { group, groupVersion, type ServedResource, servedResources, version } from "./resources.ts"

const groupObject = {
  name: group,
  versions: [{ groupVersion, version }],
  preferredVersion: { groupVersion, version },
}

/** The discovery documents of an aggregated API server. */
export function discoveryDocuments(): FixedDocuments {
  const groups = jsonDocument({ kind: "APIGroupList", apiVersion: "v1", groups: [groupObject] })
  const aggregated = { v2: aggregatedDocument("v2"), v2beta1: aggregatedDocument("v2beta1") }
  const ownGroup = jsonDocument({ kind: "APIGroup", apiVersion: "v1", ...groupObject })
  const resources = servedResources.flatMap(entries)
  const list = jsonDocument({ kind: "APIResourceList", apiVersion: "v1", groupVersion, resources })
  return new Map([
    [
      "/apis",
      (accept: string) => {
        const version = aggregatedVersion(accept)
        return version ? aggregated[version] : groups
      },
    ],
    [`/apis/${group}`, () => ownGroup],
    [`/apis/${groupVersion}`, () => list],
  ])
}

/** Kubernetes 1.26 asks for v2beta1, 1.30 and later for v2; both have the same shape. */
function aggregatedVersion(accept: string): "v2" | "v2beta1" | undefined {
  if (!accept.includes("as=APIGroupDiscoveryList")) return undefined
  return /v=v2(?:[;,\s]|$)/.test(accept) ? "v2" : "v2beta1"
}

function aggregatedDocument(version: "v2" | "v2beta1"): FixedDocument {
  const contentType = `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`
  return jsonDocument(aggregatedDiscovery(version), contentType)
}

function entries(resource: ServedResource) {
  const { plural, singular, kind, namespaced, verbs, shortNames, subresources = [] } = resource
  return [
    { name: plural, singularName: singular, namespaced, kind, verbs, ...(shortNames && { shortNames }) },
    ...subresources.map((sub) => ({
      name: `${plural}/${sub.name}`,
      singularName: "",
      namespaced,
      kind: sub.kind,
      verbs: sub.verbs,
    })),
  ]
}

function aggregatedDiscovery(of: "v2" | "v2beta1") {
  const kindOf = (kind: string) => ({ group, version, kind })
  const resources = servedResources.map(({ plural, singular, kind, namespaced, verbs, shortNames, subresources }) => ({
    resource: plural,
    responseKind: kindOf(kind),
    scope: namespaced ? "Namespaced" : "Cluster",
    singularResource: singular,
    verbs,
    ...(shortNames && { shortNames }),
    ...(subresources && {
      subresources: subresources.map((sub) => ({
        subresource: sub.name,
        responseKind: kindOf(sub.kind),
        verbs: sub.verbs,
      })),
    }),
  }))
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: `apidiscovery.k8s.io/${of}`,
    metadata: {},
    items: [{ metadata: { name: group }, versions: [{ version, freshness: "Current", resources }] }],
  }
}
