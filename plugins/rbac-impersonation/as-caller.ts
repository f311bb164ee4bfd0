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
    watch: refuseStream,
    lines: refuseStream,
  }
}

/** Streams would go out without the headers: they carry one value each. */
export const refuseStream = (): never => {
  throw new Error("a caller's view of Kubernetes has no streams")
}
