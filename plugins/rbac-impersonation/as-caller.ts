import type { Kube } from "../../core/kube/kube.ts"
import type { CallerAccess } from "../../core/plugin.ts"
import { impersonationHeaders } from "./headers.ts"

/**
 * The cluster as the caller sees it: the API server itself decides. When the operator may not impersonate, it answers 403
 * and the request ends; nothing here ever asks without the caller's headers.
 */
export const asCaller: CallerAccess = (kube, identity) => {
  const headers = impersonationHeaders(identity)
  return {
    ...kube,
    request: (method, path, options) =>
      kube.request(method, path, { ...options, headers: { ...options?.headers, ...headers } }),
    ...onlyRequests,
  }
}

const refuse = (): never => {
  throw new Error("a caller's view of Kubernetes answers requests only")
}

/** Everything else would go out as the operator: streams carry one value for each header, own connections what `access` gives. */
export const onlyRequests = { watch: refuse, lines: refuse, access: refuse, use: refuse } satisfies Partial<Kube>
