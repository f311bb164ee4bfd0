import type { Duplex } from "node:stream"
import type { Logger } from "../../log.ts"
import type { AuditEvent, Identity, SessionRequest } from "../../session.ts"
import { formatTarget } from "../../target.ts"
import { TargetAgents } from "../agents/target-agents.ts"
import type { UserCertificate } from "../credentials/user-certificates.ts"
import type { Operator } from "../operator.ts"
import type { PodAgent } from "../session/agent-connection.ts"
import { formatSessionId, type LiveSession, noPorts, type SessionFacts } from "../session/live-session.ts"
import { Relay } from "../session/relay.ts"
import { sessionPorts } from "../session/session-ports.ts"
import { filterText } from "../session/subscription.ts"
import { readClientHeaders, readSessionId } from "./client-headers.ts"
import { type ConnectParams, readConnectParams } from "./connect-params.ts"
import { acceptClient } from "./sockets.ts"
import { badRequest, denied, StatusError, toStatusError, unauthorized } from "./status.ts"
import { parseTargetName } from "./target-name.ts"
import type { UpgradeRequest } from "./upgrade-request.ts"

export interface ConnectRequest {
  request: UpgradeRequest
  socket: Duplex
  early: () => Buffer
  identity: Identity
  namespace: string
  name: string
  query: string
}

/**
 * One client socket: checks who asks for what, finds or makes the session, starts its agent, then completes the upgrade.
 * Until then every failure is an HTTP answer the client can show. @throws StatusError, AppError
 */
export async function connectTarget(operator: Operator, connect: ConnectRequest): Promise<void> {
  const { request, socket, early } = connect
  const params = readConnectParams(connect.query, request.headers)
  const asked = askedFor(operator, connect, params)
  const gone = new AbortController()
  const leave = () => gone.abort(new StatusError(499, "ClientClosedRequest", "The client left"))
  socket.once("close", leave)
  try {
    const session = await sessionFor(operator, asked, params)
    try {
      const agent = session.agents.primary()
      if (!agent)
        throw new StatusError(409, "Conflict", `No pod of "${formatTarget(asked.info.target)}" can be used now`)
      const link = await agent.connect(gone.signal)
      let client: ReturnType<typeof acceptClient>
      try {
        client = acceptClient(request, socket, early)
      } catch (error) {
        link.abort()
        throw error
      }
      const relay = createRelay(operator, session, { agent, link }, client, params)
      if (operator.sessions.attach(session, relay)) opened(operator, session)
    } catch (thrown) {
      if (await operator.sessions.abandon(session)) opened(operator, session)
      throw thrown
    }
  } catch (thrown) {
    const { code, message, denial } = toStatusError(thrown)
    // Refusals are recorded here, whoever refused: RBAC, a plugin, or a certificate that is not ours.
    if (code === 401 || code === 403)
      record(operator, "session-denied", asked.found ?? asked.info, { reason: message, ...denial })
    if (code === 403) operator.metrics.denied("connect")
    throw thrown
  } finally {
    socket.off("close", leave)
  }
}

interface Asked {
  info: Omit<SessionRequest, "labels">
  /** The same with what is known of its target, once the caller was shown that. */
  found?: SessionRequest
  number: bigint
  certificate(): UserCertificate
}

function askedFor(
  operator: Operator,
  { request, identity, namespace, name }: ConnectRequest,
  params: ConnectParams,
): Asked {
  const label = params.label_target && {
    labels: params.label_target.labels,
    container: params.label_target.container ?? undefined,
  }
  const headers = readClientHeaders(request.headers)
  const number = readSessionId(request.headers)
  if (number === undefined) throw badRequest("The header x-session-id is missing")
  return {
    info: {
      identity,
      target: parseTargetName(name, label),
      namespace,
      profile: params.profile,
      client: { user: headers.user, hostname: headers.hostname, version: headers.version, branch: params.branch_name },
    },
    number,
    certificate: () => {
      if (!headers.certificate) throw unauthorized("The header x-client-der with a client certificate is missing")
      return operator.certificates.verify(headers.certificate)
    },
  }
}

/**
 * The session a socket belongs to: one that stands and is the caller's, on this replica or another, or a new one. It is
 * claimed for the socket when this resolves.
 */
async function sessionFor(operator: Operator, asked: Asked, params: ConnectParams): Promise<LiveSession> {
  const { info, number } = asked
  const { userId, kind } = asked.certificate()
  const { sessions } = operator
  const comer = { user: info.identity.user, userId, namespace: info.namespace, target: info.target }
  const known = sessions.find(number, comer)
  if (known && "relays" in known) return (await sessions.join(known, comer)).session
  const log = operator.log.child({ session: formatSessionId(number) })
  const agents = targetAgents(operator, info, log)
  let request: SessionRequest
  try {
    // Kubernetes first, as the caller: nothing else is told to who may not even see the target.
    const { uid: targetUid, labels } = await agents.resolve(operator.asCaller(info.identity))
    request = { ...info, labels, targetUid }
    asked.found = request
    const verdict = await operator.plugins.authorize("authorizeSession", request)
    if (!verdict.allow) throw denied(verdict)
  } catch (thrown) {
    agents.close()
    throw thrown
  }
  const own: LiveSession = {
    info: { ...request, id: formatSessionId(number), openedAt: known?.info.openedAt ?? new Date() },
    number,
    userId,
    key: params.key,
    headerFilter: params.header_filter,
    ci: kind === "ci" || params.session_ci_info !== undefined,
    ports: noPorts,
    agents,
    relays: new Set(),
    log,
  }
  const joined = await sessions.join(own, comer)
  if (joined.session === own && !joined.fresh) operator.log.info("session taken over", { session: own.info.id })
  return joined.session
}

function targetAgents(operator: Operator, { target, namespace }: Asked["info"], log: Logger) {
  return new TargetAgents({
    target,
    namespace,
    kube: operator.kube,
    watch: operator.podWatch,
    pool: operator.agents,
    stealTls: () => operator.stealTls.agentConfig(target, namespace),
    log,
    identity: operator.agentIdentity,
    startupSeconds: operator.settings.agent.startupSeconds,
  })
}

function opened(operator: Operator, session: LiveSession): void {
  operator.metrics.opened(session)
  operator.plugins.notify("onSessionOpened", session.info)
  record(operator, "session-started", session.info, {})
}

function createRelay(
  operator: Operator,
  session: LiveSession,
  first: { agent: PodAgent; link: Awaited<ReturnType<PodAgent["connect"]>> },
  client: ReturnType<typeof acceptClient>,
  params: ConnectParams,
): Relay {
  const { info, agents, log } = session
  const { locks, metrics, plugins } = operator
  const ports = sessionPorts({ locks, session, onConcurrent: params.on_concurrent_steal, log })
  const relay: Relay = new Relay({
    client,
    first,
    session: info,
    agents,
    plugins,
    lock: (subscription, extend) => ports.lock(subscription, relay, extend),
    unlock: (subscription) => ports.unlock(subscription),
    onDenied: (what, denial, subscription) => {
      metrics.denied(denial.plugin)
      const ports = subscription && { mode: subscription.mode, ports: [subscription.port] }
      const { plugin, policy, reason } = denial
      record(operator, "request-denied", info, { ...ports, reason: `${what}: ${reason}`, plugin, policy })
    },
    onSubscribed: (subscription) => {
      const { mode, port, filter } = subscription
      ports.subscribed(subscription, relay)
      operator.sessions.hasPort(session, mode, port)
      log.info(mode === "steal" ? "port stolen" : "port mirrored", { port, filter: filterText(filter) })
    },
    onStolen: (port, what) => metrics.stolen(session, port, what),
    onLatency: (ms) => metrics.pinged(session, ms),
    noPodMs: operator.settings.noPodMs,
    log,
  })
  return relay
}

export function record(
  { audit }: Operator,
  kind: AuditEvent["kind"],
  { identity, target, targetUid, namespace, ...rest }: Asked["info"] & { id?: string },
  more: Partial<AuditEvent>,
): void {
  const about = { target: formatTarget(target), targetUid, namespace, sessionId: rest.id }
  audit.record({ kind, at: new Date(), identity, ...about, ...more })
}

/** What a session has stolen; or mirrored, when it has stolen nothing. */
export function usedPorts({ ports }: SessionFacts): Pick<AuditEvent, "mode" | "ports"> {
  if (ports.steal.length > 0) return { mode: "steal", ports: ports.steal }
  return ports.mirror.length > 0 ? { mode: "mirror", ports: ports.mirror } : {}
}
