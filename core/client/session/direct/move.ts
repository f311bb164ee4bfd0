import { randomBytes } from "node:crypto"
import { AppError, errorText } from "../../../errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import type { PodPort } from "../../../kube/pod-tunnel.ts"
import { podPath } from "../../../kube/resources.ts"
import type { MovableLink } from "../../../link/index.ts"
import type { Link } from "../../../link.ts"
import type { Logger } from "../../../log.ts"
import { type ClientMessage, type DaemonMessage, moveHeader, moveVersion } from "../../../protocol/index.ts"
import { openTunnel } from "./tunnel.ts"

/** The API server learns a pod's address up to a second after its start; later than this it never will. */
const addressLimitMs = 60_000
/** Between two watches, in milliseconds; a server ends one after minutes. */
const watchPauseMs = 250

export interface MoveOptions {
  kube: Kube
  pod: PodPort
  peer: string
  log: Logger
}

/**
 * Moves a session that runs over a port-forward to a tunnel by `pods/proxy`, if that works; otherwise it stays where it is. Never
 * rejects. A session does not wait for it: the API server cannot reach a pod whose address nobody has told it yet.
 */
export async function moveToTunnel(
  { kube, pod, peer, log }: MoveOptions,
  link: MovableLink<DaemonMessage, ClientMessage>,
  protocolVersion: string,
): Promise<void> {
  const over = new AbortController()
  void link.ended.then(() => over.abort(new AppError("session-ended", "The session is over")))
  try {
    await addressKnown(kube, pod, AbortSignal.any([over.signal, AbortSignal.timeout(addressLimitMs)]))
    const token = randomBytes(16).toString("hex")
    const { link: next } = await openTunnel({ kube, pod, peer, signal: over.signal }, { [moveHeader]: token })
    await moveTo(next, link, moveVersion(protocolVersion, token))
    log.debug("the session goes by pods/proxy")
  } catch (thrown) {
    if (!over.signal.aborted) log.debug("the session stays with port-forward", { error: errorText(thrown) })
  }
}

/** Rejects when the link ends before it has moved. */
async function moveTo(
  next: Link<DaemonMessage, ClientMessage>,
  link: MovableLink<DaemonMessage, ClientMessage>,
  goodbye: string,
) {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  void link.ended.then(() => reject(new AppError("session-ended", "The session is over")))
  link.send({ kind: "SwitchProtocolVersion", value: goodbye })
  link.move(next, (message) => {
    if (message.kind !== "SwitchProtocolVersionResponse") return false
    if (message.value === goodbye) resolve()
    else link.abort(new AppError("agent-unexpected", "The agent did not move to its new connection"))
    return true
  })
  await promise
}

async function addressKnown(kube: Kube, { namespace, name }: PodPort, signal: AbortSignal): Promise<void> {
  const query = { fieldSelector: `metadata.name=${name}`, resourceVersion: 0 }
  const found = new AbortController()
  const options = { query, what: `watch pods in ${namespace}`, signal: AbortSignal.any([signal, found.signal]) }
  try {
    for (;;) {
      for await (const { object } of kube.watch<Pod>(podPath(namespace), options)) if (object.status?.podIP) return
      await Bun.sleep(watchPauseMs)
      signal.throwIfAborted()
    }
  } finally {
    found.abort()
  }
}
