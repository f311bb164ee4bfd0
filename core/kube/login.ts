import { resolveAccess, type ServerAccess } from "./access.ts"
import { KubeError } from "./errors.ts"
import type { LoadedKubeConfig } from "./kubeconfig.ts"

/** A server that refuses new credentials, too, must not have the plugin run for each question. In milliseconds. */
const renewAgainAfterMs = 10_000

/** What a user presents to the API server, through a session that may outlive it. */
export interface Login {
  /** What to present now. */
  access(): Promise<ServerAccess>
  /**
   * Does `work` with it. When the server does not know the user any more, the kubeconfig is read again, its credential plugins and
   * token files are asked anew, and `work` is done once more.
   */
  use<T>(work: (access: ServerAccess) => Promise<T>): Promise<T>
}

/** @param reload reads the same context again; absent where there is nothing to read */
export function createLogin(loaded: LoadedKubeConfig, reload?: () => LoadedKubeConfig): Login {
  let current = loaded
  let renewedAt = Number.NEGATIVE_INFINITY
  const serverOf = ({ config }: LoadedKubeConfig) => config.getCurrentCluster()?.server

  /** False when there is nothing newer. */
  const renew = (used: LoadedKubeConfig): boolean => {
    if (used !== current) return true
    if (!reload || performance.now() - renewedAt < renewAgainAfterMs) return false
    renewedAt = performance.now()
    try {
      const fresh = reload()
      if (serverOf(fresh) !== serverOf(used)) return false
      current = fresh
      return true
    } catch {
      return false
    }
  }

  return {
    access: () => resolveAccess(current),
    async use(work) {
      const used = current
      try {
        return await work(await resolveAccess(used))
      } catch (thrown) {
        if (!(thrown instanceof KubeError) || thrown.status !== 401 || !renew(used)) throw thrown
        return work(await resolveAccess(current))
      }
    },
  }
}
