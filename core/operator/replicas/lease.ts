import type { Metadata } from "../../kube/objects.ts"
import { resourcePath } from "../../kube/resources.ts"

/** A Lease of coordination.k8s.io/v1, as far as replicas use it. */
export interface Lease {
  apiVersion: string
  kind: string
  metadata: Metadata
  spec?: LeaseSpec
}

export interface LeaseSpec {
  holderIdentity?: string
  leaseDurationSeconds?: number
  acquireTime?: string
  renewTime?: string
}

export const leasePath = (namespace: string, name?: string): string =>
  resourcePath({ group: "coordination.k8s.io", version: "v1", resource: "leases" }, namespace, name)

/** A time as a Lease wants it: RFC 3339 with microseconds. */
export const microTime = (at = new Date()): string => at.toISOString().replace("Z", "000Z")
