import type { OperatorSettings } from "../../config/operator.ts"
import type { Plugins } from "../host.ts"
import type { Kube } from "../kube/kube.ts"
import type { OwnerReference } from "../kube/objects.ts"
import type { Logger } from "../log.ts"
import { endsWithin } from "../time-limit.ts"
import { ownerLabel } from "./agents/agent-object.ts"
import { AgentPool } from "./agents/agent-pool.ts"
import { EphemeralAgents } from "./agents/ephemeral-agents.ts"
import { PodWatch } from "./agents/pod-watch.ts"
import { StealTls } from "./agents/steal-tls.ts"
import { createApp } from "./api/app.ts"
import { record, usedPorts } from "./api/connect.ts"
import { discoveryDocuments } from "./api/discovery.ts"
import { openFrontDoor } from "./api/front-door.ts"
import { openApiDocuments } from "./api/openapi.ts"
import { createUpgrades } from "./api/upgrades.ts"
import { watchFrontProxy } from "./api/watch-front-proxy.ts"
import { giveBackAtRest } from "./at-rest.ts"
import { Audit } from "./audit/audit.ts"
import { agentKeyPair, userAuthorityKeys } from "./credentials/operator-keys.ts"
import { servingCertificate } from "./credentials/serving-certificate.ts"
import { UserCertificates } from "./credentials/user-certificates.ts"
import { onFirst } from "./first-address.ts"
import { LeasePortLocks } from "./locks/lease-port-locks.ts"
import { serveMetrics } from "./metrics/metrics-server.ts"
import { operatorMetrics } from "./metrics/operator-metrics.ts"
import type { Operator } from "./operator.ts"
import { ownDeployment } from "./own-deployment.ts"
import { Records } from "./replicas/records.ts"
import { Replicas } from "./replicas/replicas.ts"
import { SessionRegistry } from "./session/registry.ts"
import { SessionChanges } from "./session/session-changes.ts"

export interface StartOperatorOptions {
  settings: OperatorSettings
  kube: Kube
  plugins: Plugins<"operator">
  log: Logger
  /** Takes the audit's lines, whatever the level of `log` is. */
  auditLog: Logger
}

/** After this a client takes a silent socket for dead: it pings every 30 s and forgives one missing answer. */
const clientSilenceMs = 60_000

/** What is on its way to the API server when the operator ends has this long to get there, in milliseconds. */
const lastWordsMs = 200

/** How long one step of the end may take, in milliseconds: Kubernetes kills after 30 s. */
const stepMs = 4_000

export interface RunningOperator {
  host: string
  port: number
  metricsPort: number | undefined
  /** Ends every socket; the clients come back to another replica. */
  stop(): Promise<void>
}

/** Puts the operator together; whatever fails, everything already started is stopped. */
export async function startOperator(options: StartOperatorOptions): Promise<RunningOperator> {
  const { settings, kube, plugins, log, auditLog } = options
  const ending = new AbortController()
  const { signal } = ending
  const labels = { [ownerLabel]: settings.ownerMarker }
  const undo: (() => unknown)[] = [() => ending.abort()]
  const stop = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) {
      const undone = (async (undo) => void (await undo()))(step).then(
        () => {},
        (error) => log.warn("a step of the end failed", { error }),
      )
      if (!(await endsWithin(undone, stepMs))) log.warn("a step of the end is not waited for any longer")
    }
  }
  try {
    const frontProxy = await watchFrontProxy(kube, log, signal)
    const owner: OwnerReference | undefined = await ownDeployment(kube, settings, log)
    const place = { kube, namespace: settings.namespace, labels, owner }
    const agentIdentity = settings.agent.tls ? await agentKeyPair(place) : undefined
    const userKeys = await userAuthorityKeys(place)
    const operatorCertificate = agentIdentity?.cert
    const pool = new AgentPool({ kube, settings, operatorCertificate, owner, log, signal })
    await pool.start()
    const podWatch = new PodWatch(kube, log)
    const ephemeral = { kube, settings, operatorCertificate, watch: podWatch, targetless: pool, log }
    const agents = settings.agent.ephemeral ? new EphemeralAgents(ephemeral) : pool
    undo.push(() => podWatch.stop())

    const access = plugins.provide("provideCallerAccess")
    const metrics = operatorMetrics(
      () => sessions.hereCount,
      () => pool.size,
    )
    const { ownerMarker, namespace, podName } = settings
    const records = new Records({ kube, namespace, ownerMarker, owner, log, signal })
    await records.start()
    const replicas = new Replicas(records, podName, log)
    await replicas.start()
    undo.push(() => replicas.stop())
    const sessions = new SessionRegistry({
      records,
      replicas,
      unusedMs: settings.sessionUnusedSeconds * 1000,
      lostMs: settings.sessionUnusedSeconds * 1000 + clientSilenceMs,
      maxLifeMs: settings.maxSessionSeconds * 1000,
      log,
      onClosed: (session, why, killed) => {
        locks.releaseAll(session.info.id).catch((error) => log.warn("ports could not be unlocked", { error }))
        metrics.closed(session)
        plugins.notify("onSessionClosed", session.info, why)
        record(operator, killed ? "session-killed" : "session-ended", session.info, {
          reason: why,
          ...usedPorts(session),
        })
      },
    })
    const locks = new LeasePortLocks({ records, replicas, evict: (id, why) => sessions.evict(id, why), log })
    const changes = new SessionChanges({
      records,
      session: (lease) => sessions.recorded(lease),
      locks: (lease) => locks.recorded(lease),
    })
    undo.push(
      () => changes.stop(),
      () => sessions.stop(),
      () => locks.stop(),
    )
    const audit = new Audit({ kube, log, auditLog, plugins, replica: settings.podName ?? "podside-operator" })
    undo.push(() => audit.stop())
    const stealTls = new StealTls({
      kube,
      log,
      warn: ({ apiVersion, kind, metadata: { name, namespace, uid } }, reason, message) =>
        audit.warn({ apiVersion, kind, name, namespace, uid }, reason, message),
    })
    const operator: Operator = {
      settings,
      log,
      kube,
      asCaller: (identity) => access(kube, identity),
      plugins,
      certificates: new UserCertificates(userKeys, { commonName: "podside", organization: settings.organization }),
      agentIdentity,
      agents,
      stealTls,
      podWatch,
      sessions,
      changes,
      locks,
      audit,
      metrics,
    }

    const app = createApp(operator)
    let replace: ((pair: { cert: string; key: string }) => void) | undefined
    const certificate = await servingCertificate({ kube, settings, labels, owner, log, signal }, (pair) =>
      replace?.(pair),
    )
    const door = await openFrontDoor({
      listen: settings.listen,
      certificate,
      frontProxy,
      documents: new Map([...discoveryDocuments(), ...openApiDocuments()]),
      app,
      upgrade: createUpgrades(operator),
      notReady: () => (frontProxy() ? plugins.notReady()[0] : "the API server's settings were not read yet"),
      log,
    })
    replace = door.replaceCertificate
    undo.push(async () => {
      door.stopAccepting()
      changes.stop()
      // Before their sockets end: otherwise each would be written down as left, a thousand times in a moment, and its ports
      // would be given back, which it comes back for.
      locks.stop()
      sessions.stop()
      // An answer that ends is told from one that breaks off: kubectl shows the latter as a failure.
      await Bun.sleep(lastWordsMs)
      await door.close()
    })
    const metricsServer =
      settings.metrics && (await onFirst(settings.metrics, (address) => serveMetrics(address, metrics.render)))
    if (metricsServer) undo.push(() => metricsServer.stop())
    const rest = giveBackAtRest()
    undo.push(() => rest.stop())
    return { host: door.host, port: door.port, metricsPort: metricsServer?.port, stop }
  } catch (thrown) {
    await stop()
    throw thrown
  }
}
