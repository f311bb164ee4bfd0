import type { Conversation } from "../conversation.ts"
import type { World } from "../engine.ts"
import { createForwarder } from "./dns/forward.ts"
import { KnownNames } from "./dns/known-names.ts"
import { createNames } from "./dns/lookup.ts"
import { createPodConfig } from "./dns/pod-config.ts"
import { createDnsWorld } from "./dns/world.ts"
import { createEnvSource, type Environment } from "./env.ts"
import { fileListSurroundings } from "./files/decide.ts"
import { createFileWorld } from "./files/world.ts"
import { createHostname } from "./hostname.ts"
import { createIncomingWorld } from "./incoming/world.ts"
import type { FeatureOptions } from "./options.ts"
import { createOutgoingWorld } from "./outgoing/world.ts"

export interface SessionFeatures {
  world: World
  /** The pod's variables. Await it after `conversation.begin()`. */
  fetchEnv(): Promise<Environment>
  /** What has to be known before the program starts. */
  prepare(): Promise<void>
}

/**
 * Everything of a pod a program may see, on one conversation that has not begun yet. What the configuration switches off is
 * absent and stays with this machine.
 * @throws AppError "bad-pattern", "filter-unsupported"
 */
export function createFeatures(
  conversation: Conversation,
  options: FeatureOptions,
  executable: string,
): SessionFeatures {
  const fetchEnv = createEnvSource(conversation)
  const names = createNames(conversation)
  const known = new KnownNames()
  const files = createFileWorld(conversation, options.files, fileListSurroundings(executable))
  const incoming = createIncomingWorld(conversation, options.incoming)
  const listensOn = (port: number) => incoming.listensOn(port)
  const outgoing = createOutgoingWorld(conversation, options.outgoing, { known, listensOn, resolveHere: names.local })
  const podConfig = createPodConfig(files)
  const forward = createForwarder(outgoing, podConfig)
  const readsHosts = options.files.mode !== "local" && files.place("/etc/hosts", "read").place === "remote"
  const filterNames = (options.outgoing.filter?.entries ?? []).flatMap(({ address }) =>
    address.kind === "name" ? [address.name] : [],
  )
  return {
    world: {
      ...(options.files.mode !== "local" ? { files } : {}),
      ...(options.dns ? { dns: createDnsWorld(options.dns, { names, known, forward, podConfig, readsHosts }) } : {}),
      outgoing,
      incoming: incoming.world,
      ...(options.ipv6 ? {} : { withoutIpv6: true }),
      ...(options.hostname ? { hostname: createHostname(files) } : {}),
    },
    fetchEnv: () => fetchEnv(options.env, options.envLimitMs),
    async prepare() {
      // As the program would resolve them: where a name leads on this machine is another question.
      const fromPod = options.outgoing.filter?.matching === "remote" && options.dns !== undefined
      await known.prepare(filterNames, fromPod ? names.remote : names.local)
    },
  }
}

/** Waits for `work`, unless the agent is lost before. */
export async function whileAlive<T>(conversation: Conversation, work: Promise<T>): Promise<T> {
  const lost = conversation.lost.then((error): never => {
    throw error
  })
  lost.catch(() => {})
  return Promise.race([work, lost])
}
