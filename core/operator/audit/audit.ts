import type { Plugins } from "../../host.ts"
import { KubeError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Logger } from "../../log.ts"
import type { AuditEvent } from "../../session.ts"
import { EventTrouble } from "./event-trouble.ts"
import { coreEvent, type EventParts, kubeEvent } from "./kube-event.ts"

export interface AuditOptions {
  kube: Kube
  log: Logger
  auditLog: Logger
  plugins: Plugins<"operator">
  /** Name of this replica, as the source of Events. */
  replica: string
}

/** Events on their way to the API server at once; beyond that an Event is left out, never the line. */
const maxEventsInFlight = 64

/** Where Events about objects of no namespace stand. */
const clusterEvents = "default"

/** Keeps the record of who used what: one line for the log, one Kubernetes Event, and the plugins. Never any payload. */
export class Audit {
  readonly #options: AuditOptions
  readonly #trouble: EventTrouble
  #inFlight = 0

  constructor(options: AuditOptions) {
    this.#options = options
    this.#trouble = new EventTrouble(options.log)
  }

  stop(): void {
    this.#trouble.stop()
  }

  record(event: AuditEvent): void {
    const { auditLog, plugins } = this.#options
    auditLog.info("audit", { ...event, at: event.at.toISOString(), identity: { ...event.identity, extra: undefined } })
    plugins.notify("onAudit", event)
    void this.#tellKubernetes(event.namespace, kubeEvent(event, this.#options.replica))
  }

  /** An Event about an object that does not do what its author may expect. */
  warn(about: EventParts["about"], reason: string, message: string): void {
    const namespace = about.namespace ?? clusterEvents
    const parts = { namespace, about, reason, type: "Warning", message, at: new Date() } as const
    void this.#tellKubernetes(namespace, coreEvent({ ...parts, replica: this.#options.replica }))
  }

  async #tellKubernetes(namespace: string, body: object): Promise<void> {
    const { kube } = this.#options
    if (this.#inFlight >= maxEventsInFlight) return this.#trouble.omitted()
    this.#inFlight++
    try {
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`
      await kube.request("POST", path, { body, what: `create an event in ${namespace}` })
    } catch (error) {
      // A namespace that is going takes no more Events, and whoever deleted it wants none.
      if (!isLeaving(error)) this.#trouble.failed(error)
    } finally {
      this.#inFlight--
    }
  }
}

function isLeaving(error: unknown): boolean {
  if (!(error instanceof KubeError)) return false
  return error.status === 404 || (error.status === 403 && error.message.includes("being terminated"))
}
