import type { Query } from "../../core/kube/kube.ts"

/** What RBAC is asked about a request. Source: Kubernetes documentation, "Determine the request verb". */
export interface ResourceAttributes {
  group: string
  version: string
  resource: string
  subresource?: string
  namespace?: string
  name?: string
  verb: string
}

/** Reads `/apis/apps/v1/namespaces/shop/deployments/api`. Undefined for what is no resource. */
export function resourceAttributes(method: string, path: string, query: Query = {}): ResourceAttributes | undefined {
  const parts = path.split("?")[0]!.split("/").filter(Boolean).map(decodeURIComponent)
  // A URL with these leads elsewhere.
  if (parts.includes(".") || parts.includes("..")) return undefined
  const [root, ...rest] = parts
  const [group, version, ...place] = root === "api" ? ["", ...rest] : rest
  if ((root !== "api" && root !== "apis") || group === undefined || version === undefined) return undefined
  // "namespaces/shop" alone is the namespace itself.
  const namespaced = place[0] === "namespaces" && place.length > 2
  const namespace = namespaced ? place[1] : undefined
  const [resource, name, subresource] = namespaced ? place.slice(2) : place
  if (resource === undefined) return undefined
  return { group, version, resource, subresource, namespace, name, verb: verbOf(method, name !== undefined, query) }
}

function verbOf(method: string, named: boolean, query: Query): string {
  switch (method) {
    case "GET":
      return String(query["watch"]) === "true" ? "watch" : named ? "get" : "list"
    case "POST":
      return "create"
    case "PUT":
      return "update"
    case "PATCH":
      return "patch"
    default:
      return named ? "delete" : "deletecollection"
  }
}
