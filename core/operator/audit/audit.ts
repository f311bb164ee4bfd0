import type { Plugins } from "../../host.ts"
import { KubeError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Logger } from "../../log.ts"
import type { AuditEvent } from "../../session.ts"
import { EventTrouble } from "./event-trouble.ts"
import { kubeEvent } from "./kube-event.ts"

export interface AuditOptions {
  kube: Kube
  log: Logger
  plugins: Plugins<"operator">
  /** Name of this replica, as the source of Events. */
  replica: string
}

/** Events on their way to the API server at once; beyond that an Event is left out, never the line. */
const maxEventsInFlight = 64

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
    const { log, plugins } = this.#options
    log.info("audit", { ...event, at: event.at.toISOString(), identity: { ...event.identity, extra: undefined } })
    plugins.notify("onAudit", event)
    void this.#tellKubernetes(event)
  }

  async #tellKubernetes(event: AuditEvent): Promise<void> {
    const { kube, replica } = this.#options
    if (this.#inFlight >= maxEventsInFlight) return this.#trouble.omitted()
    this.#inFlight++
    try {
      const path = `/api/v1/namespaces/${encodeURIComponent(event.namespace)}/events`
      await kube.request("POST", path, {
        body: kubeEvent(event, replica),
        what: `create an event in ${event.namespace}`,
      })
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
