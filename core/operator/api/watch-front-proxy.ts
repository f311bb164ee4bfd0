import { follow } from "../../kube/follow.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Metadata } from "../../kube/objects.ts"
import type { Logger } from "../../log.ts"
import { type FrontProxy, readFrontProxy } from "./front-proxy.ts"

const name = "extension-apiserver-authentication"

/** The API server's request-header settings of the moment; a CA that rotates counts from the next request on. */
export async function watchFrontProxy(
  kube: Kube,
  log: Logger,
  signal: AbortSignal,
): Promise<() => FrontProxy | undefined> {
  let current: FrontProxy | undefined
  await follow<{ metadata: Metadata; data?: unknown }>({
    kube,
    path: "/api/v1/namespaces/kube-system/configmaps",
    query: { fieldSelector: `metadata.name=${name}` },
    signal,
    log,
    onChange: (objects) => {
      const [config] = objects.values()
      try {
        // Without settings nobody can be trusted: fail closed.
        current = config && readFrontProxy(config.data)
      } catch (error) {
        current = undefined
        log.error("the API server's request-header settings cannot be used", { error })
      }
    },
  })
  return () => current
}
