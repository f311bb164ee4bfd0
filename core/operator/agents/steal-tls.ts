import * as v from "valibot"
import { type StealTlsSpec, stealTlsKinds, stealTlsSpec } from "../../../config/manifests/steal-tls.ts"
import { errorText } from "../../errors.ts"
import { KubeError } from "../../kube/errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Metadata } from "../../kube/objects.ts"
import { resourcePath, resources } from "../../kube/resources.ts"
import type { Logger } from "../../log.ts"
import { policyPath, type Target } from "../../target.ts"
import { appliesTo, needsLabels } from "./applies-to.ts"

/** An agent gets it in one variable of its environment, which the kernel limits to 128 KiB. */
const maxConfigBytes = 96 << 10
/** Objects named in the log and in Events; each is named once for each of its versions. */
const maxRemembered = 1000

export interface StealTlsOptions {
  /** The operator's own connection. */
  kube: Kube
  log: Logger
  /** A warning that belongs to one object. */
  warn(about: StealTlsObject, reason: string, message: string): void
}

export interface StealTlsObject {
  apiVersion: string
  kind: string
  metadata: Metadata
}

interface Config {
  object: StealTlsObject
  spec: StealTlsSpec
}

/** What the cluster's MirrordTlsStealConfig and MirrordClusterTlsStealConfig objects say about a target's ports. */
export class StealTls {
  readonly #options: StealTlsOptions
  readonly #named = new Set<string>()

  constructor(options: StealTlsOptions) {
    this.#options = options
  }

  /**
   * MIRRORD_AGENT_STEAL_TLS_CONFIG for a new agent beside `target`: base64 without padding of a JSON array, undefined when no object is for
   * it. Of several for one port the namespace's own object comes first, then the one whose name does. An object that cannot be read is
   * left out, and so is everything while the API server does not answer: TLS then passes through the agent as it is.
   */
  async agentConfig(target: Target, namespace: string): Promise<string | undefined> {
    if (target.kind === "targetless") return undefined
    const configs = (await Promise.all([this.#list("namespaced", namespace), this.#list("cluster")])).flat()
    if (configs.length === 0) return undefined
    const path = policyPath(target)
    const labels = configs.some(({ spec }) => needsLabels(spec.selector)) ? await this.#labelsOf(target, namespace) : {}
    const readable = configs.filter(({ spec }) => labels || !needsLabels(spec.selector))
    return this.#encode(readable.filter(({ spec }) => appliesTo(spec, path, labels ?? {})))
  }

  async #list(scope: keyof typeof stealTlsKinds, namespace?: string): Promise<Config[]> {
    const { group, version, kind, plural } = stealTlsKinds[scope]
    const path = resourcePath({ group, version, resource: plural }, namespace)
    let found: { metadata: Metadata; spec?: unknown }[]
    try {
      found = await this.#options.kube.list(path, { what: `list ${plural}` })
    } catch (thrown) {
      // 404: the kind is not installed.
      if (thrown instanceof KubeError && thrown.status === 404) return []
      this.#options.log.error("TLS stealing is not set up for a new agent", { kind, error: errorText(thrown) })
      return []
    }
    return found
      .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .flatMap(({ metadata, spec }) => {
        const object = { apiVersion: `${group}/${version}`, kind, metadata }
        const parsed = v.safeParse(stealTlsSpec, spec)
        if (parsed.success) return [{ object, spec: parsed.output }]
        const [issue] = parsed.issues
        this.#warn(object, "NotUsable", `spec.${v.getDotPath(issue) ?? ""}: ${issue.message}; the object has no effect`)
        return []
      })
  }

  /** Of the object the session names; undefined when it cannot be read. */
  async #labelsOf(target: Target, namespace: string): Promise<Readonly<Record<string, string>> | undefined> {
    if (target.kind === "label") return target.labels
    if (target.kind === "targetless") return {}
    try {
      const { metadata } = await this.#options.kube.request<{ metadata: Metadata }>(
        "GET",
        resourcePath(resources[target.kind], namespace, target.name),
      )
      return metadata.labels ?? {}
    } catch (thrown) {
      this.#options.log.error("TLS stealing is not set up for a new agent", { error: errorText(thrown) })
      return undefined
    }
  }

  #encode(configs: readonly Config[]): string | undefined {
    let chosen = new Map<number, Port>()
    for (const { object, spec } of configs) {
      const more = new Map(chosen)
      for (const port of spec.ports) {
        if (!more.has(port.port)) more.set(port.port, port)
        else this.#warn(object, "PortTaken", `port ${port.port} is described by another entry, which comes first`)
      }
      if (encode(more).length <= maxConfigBytes) chosen = more
      else this.#warn(object, "TooLarge", `agents' settings would exceed ${maxConfigBytes} bytes; it has no effect`)
    }
    return chosen.size > 0 ? encode(chosen) : undefined
  }

  #warn(object: StealTlsObject, reason: string, message: string): void {
    const { name, namespace, uid, resourceVersion } = object.metadata
    const version = `${uid} ${resourceVersion} ${reason} ${message}`
    if (this.#named.has(version)) return
    const [oldest] = this.#named.size >= maxRemembered ? this.#named : []
    if (oldest !== undefined) this.#named.delete(oldest)
    this.#named.add(version)
    this.#options.log.warn("a TLS-steal config is not used as it is", { kind: object.kind, name, namespace, message })
    this.#options.warn(object, reason, message)
  }
}

type Port = StealTlsSpec["ports"][number]

/** What is null is left out: mirrord's agents know no null for lists and flags. */
const encode = (ports: ReadonlyMap<number, Port>): string =>
  Buffer.from(JSON.stringify([...ports.values()], (_, value) => value ?? undefined))
    .toString("base64")
    .replace(/=+$/, "")
