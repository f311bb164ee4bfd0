import * as v from "valibot"
import { AppError } from "../core/errors.ts"
import type { Config } from "./load.ts"

/** A profile's name as the configuration gives it: cluster-wide, or in a namespace. */
export interface ProfileReference {
  namespace?: string
  name: string
}

export function profileReference(text: string): ProfileReference {
  const slash = text.indexOf("/")
  return slash < 0 ? { name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) }
}

const changes = {
  "incoming-off": ({ network }) => void (network.incoming.mode = "off"),
  "incoming-mirror": ({ network }) => void (network.incoming.mode = "mirror"),
  "incoming-steal": ({ network }) => void (network.incoming.mode = "steal"),
  "dns-off": ({ network }) => void Object.assign(network.dns, { enabled: false, filter: undefined }),
  "dns-remote": ({ network }) => void Object.assign(network.dns, { enabled: true, filter: undefined }),
  "outgoing-off": ({ network }) =>
    void Object.assign(network.outgoing, { tcp: false, udp: false, filter: undefined, unix_streams: undefined }),
  "outgoing-remote": ({ network }) =>
    void Object.assign(network.outgoing, { tcp: true, udp: true, filter: undefined, unix_streams: [".*"] }),
} satisfies Record<string, (feature: Config["feature"]) => void>

/** What a profile may change, as its object in the cluster spells it. */
export const profileChanges = Object.keys(changes) as (keyof typeof changes)[]

const specSchema = v.strictObject({
  featureAdjustments: v.optional(v.array(v.strictObject({ change: v.picklist(profileChanges) })), []),
})

/**
 * Puts a profile's changes on top of a configuration. `spec` is that of the profile object in the cluster.
 * @throws AppError "config-profile" for a profile of a newer version, or one of another namespace than the target's
 */
export function applyProfile(config: Config, reference: ProfileReference, spec: unknown): void {
  const parsed = v.safeParse(specSchema, spec)
  const shown = reference.namespace === undefined ? reference.name : `${reference.namespace}/${reference.name}`
  if (!parsed.success) {
    throw new AppError("config-profile", `The profile "${shown}" holds something this version does not know`, {
      next: "Upgrade podside, or use another profile.",
    })
  }
  const { target } = config
  if (reference.namespace !== undefined) {
    target.namespace ??= reference.namespace
    if (target.namespace !== reference.namespace) {
      throw new AppError(
        "config-profile",
        `The profile "${shown}" is for its own namespace, but the target is in "${target.namespace}"`,
        { next: "Choose a target in that namespace, or a MirrordClusterProfile, which is for all of them." },
      )
    }
  }
  for (const { change } of parsed.output.featureAdjustments) changes[change](config.feature)
}
