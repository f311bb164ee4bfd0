import type { Kube } from "./kube.ts"

/** A right in Kubernetes' own words. */
export interface Permission {
  verb: string
  group?: string
  resource: string
  subresource?: string
  /** Absent: cluster-wide. */
  namespace?: string
}

/** Asks the API server whether the user of this connection has a right. */
export async function mayI(
  kube: Kube,
  { verb, group = "", resource, subresource, namespace }: Permission,
): Promise<boolean> {
  const resourceAttributes = { verb, group, resource, subresource, namespace }
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } }
  const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
  const answer = await kube.request<{ status?: { allowed?: boolean } }>("POST", path, {
    body,
    what: "ask for own permissions",
  })
  return answer.status?.allowed === true
}

export function formatPermission({ verb, resource, subresource, namespace }: Permission): string {
  return `${verb} ${resource}${subresource ? `/${subresource}` : ""}${namespace === undefined ? " in the whole cluster" : ` in ${namespace}`}`
}
