/** Any Kubernetes object, as it is written to a manifest. */
export type KubeObject = {
  apiVersion: string
  kind: string
  metadata: Record<string, unknown>
  [more: string]: unknown
}
