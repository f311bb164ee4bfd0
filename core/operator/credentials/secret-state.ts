import { AppError } from "../../errors.ts"
import { KubeError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Metadata, OwnerReference } from "../../kube/objects.ts"

interface SecretObject {
  metadata: Metadata
  data?: Record<string, string>
}

export interface SecretPlace {
  namespace: string
  name: string
  labels: Record<string, string>
  /** With which the Secret goes. */
  owner?: OwnerReference
}

/**
 * Text values that all replicas share, kept in one Secret. Whoever comes first makes them; whoever loses the race takes the
 * winner's. `make` is also asked when values are there but no longer good; it then gets them.
 * @throws KubeError when the Secret may not be read or written
 */
export async function sharedSecret<T extends { [K in keyof T]: string }>(
  kube: Kube,
  { namespace, name, labels, owner }: SecretPlace,
  read: (values: Partial<T>) => T | undefined,
  make: () => T,
): Promise<T> {
  const collection = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`
  const path = `${collection}/${encodeURIComponent(name)}`
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const there = await readSecret(kube, path, name)
    const values = there && read(decoded<T>(there.data))
    if (values) return values
    const made = make()
    const object = {
      apiVersion: "v1",
      kind: "Secret",
      type: "Opaque",
      metadata: {
        name,
        namespace,
        labels,
        ...(owner && { ownerReferences: [owner] }),
        ...(there && { resourceVersion: there.metadata.resourceVersion }),
      },
      data: { ...there?.data, ...encoded(made) },
    }
    try {
      await kube.request(there ? "PUT" : "POST", there ? path : collection, {
        body: object,
        what: `write secret ${name}`,
      })
      return made
    } catch (thrown) {
      // Somebody else wrote it meanwhile: theirs counts.
      if (!(thrown instanceof KubeError && thrown.status === 409)) throw thrown
    }
  }
  throw new AppError("secret-contested", `Secret "${name}" keeps being changed by others`, {
    next: "Look who else writes it: it belongs to the operator alone.",
  })
}

const maxAttempts = 5

async function readSecret(kube: Kube, path: string, name: string): Promise<SecretObject | undefined> {
  try {
    return await kube.request<SecretObject>("GET", path, { what: `get secret ${name}` })
  } catch (thrown) {
    if (thrown instanceof KubeError && thrown.status === 404) return undefined
    throw thrown
  }
}

function decoded<T>(data: Record<string, string> = {}): Partial<T> {
  const entries = Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")])
  return Object.fromEntries(entries)
}

function encoded(values: Record<string, string>): Record<string, string> {
  const entries = Object.entries(values).map(([key, value]) => [key, Buffer.from(value, "utf8").toString("base64")])
  return Object.fromEntries(entries)
}
