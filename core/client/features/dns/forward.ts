import type { ResolverConfig } from "../../../resolv-conf.ts"
import type { OutgoingWorld } from "../../engine.ts"

const answerLimitMs = 5_000
const fallbackServer = "127.0.0.1"

/**
 * Puts questions podside has no message for (SRV, TXT, PTR…) to the pod's name server, by UDP from inside the pod.
 * @param podConfig what the pod's resolv.conf says; never rejects
 */
export function createForwarder(
  outgoing: Pick<OutgoingWorld, "connect">,
  podConfig: () => Promise<ResolverConfig | undefined>,
): (query: Uint8Array) => Promise<Uint8Array | undefined> {
  return async (query) => {
    const server = (await podConfig())?.servers[0] ?? fallbackServer
    try {
      const connection = await outgoing.connect({ kind: "udp", endpoint: { ip: server, port: 53 } })
      const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>()
      const limit = setTimeout(() => resolve(undefined), answerLimitMs)
      connection.attach({
        // An answer with another id belongs to nobody.
        onData: (data) => data[0] === query[0] && data[1] === query[1] && resolve(data),
        onDrain: () => {},
        onEnd: () => resolve(undefined),
        onClose: () => resolve(undefined),
      })
      connection.write(query)
      const answer = await promise
      clearTimeout(limit)
      connection.close()
      return answer
    } catch {
      return undefined
    }
  }
}
