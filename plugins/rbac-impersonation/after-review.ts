import { AppError } from "../../core/errors.ts"
import type { Kube } from "../../core/kube/kube.ts"
import type { CallerAccess } from "../../core/plugin.ts"
import type { Identity } from "../../core/session.ts"
import { onlyRequests } from "./as-caller.ts"
import { type ResourceAttributes, resourceAttributes } from "./question.ts"

interface Review {
  status?: { allowed?: boolean; denied?: boolean; reason?: string }
}

/** For clusters that grant no `impersonate`: every request is first put to RBAC as a SubjectAccessReview of the caller. */
export const afterReview: CallerAccess = (kube, identity) => ({
  ...kube,
  async request(method, path, options) {
    const attributes = resourceAttributes(method, path, options?.query)
    if (!attributes) throw denied(identity, `${method} ${path}`, "it is no Kubernetes resource")
    await review(kube, identity, attributes, options?.signal)
    return kube.request(method, path, options)
  },
  ...onlyRequests,
})

async function review(kube: Kube, identity: Identity, attributes: ResourceAttributes, signal?: AbortSignal) {
  const { user, uid, groups, extra } = identity
  const { verb, resource, namespace, name } = attributes
  const answer = await kube.request<Review>("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: { user, uid, groups, extra, resourceAttributes: attributes },
    },
    signal,
    what: `review the access of ${user}`,
  })
  if (answer.status?.allowed === true && answer.status.denied !== true) return
  const what = [verb, resource, name && `"${name}"`, namespace && `in namespace "${namespace}"`]
    .filter(Boolean)
    .join(" ")
  throw denied(identity, what, answer.status?.reason || "no role allows it")
}

function denied({ user }: Identity, what: string, why: string): AppError {
  return new AppError("kube-forbidden", `User "${user}" may not ${what}: ${why}`, {
    next: "Ask whoever runs the cluster for a role that allows it.",
  })
}
