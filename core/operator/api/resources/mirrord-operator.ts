import type { Context, Hono } from "hono"
import { podsideVersion, versionLabel } from "../../../cli/version.ts"
import { protocolVersion } from "../../../protocol/index.ts"
import { licenseEnd } from "../../license.ts"
import type { Operator } from "../../operator.ts"
import { sessionSpec } from "../../session/live-session.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { groupVersion, type OperatorObject } from "../resources.ts"
import { fieldSelector, labelSelector } from "../selectors.ts"
import { notFound } from "../status.ts"
import { answerList, answerObject } from "../table.ts"

/**
 * The mirrord operator whose behaviour this one has; clients gate on it. Without a build part: to a client of this version
 * that would be a newer operator, and it would tell its user to update.
 */
const operatorVersion = "3.250.0"

/** What clients may use. A name appears here exactly when the thing works. */
const supportedFeatures = [
  "ProxyApi",
  "LayerReconnect",
  "ConnectParamsInHeader",
  "ExtendableUserCredentials",
  "BypassCiCertificateVerification",
  "SessionManagement",
  "LabelTargeting",
  "DiagnosticPing",
] as const

const plural = "mirrordoperators"
const fields = { "metadata.name": ({ metadata }: { metadata: { name: string } }) => metadata.name }
const path = `/apis/${groupVersion}/${plural}`

export function addOperatorRoutes(app: Hono<FrontDoorEnv>, operator: Operator): void {
  app.get(path, (c) => {
    const object = operatorObject(operator)
    const isWanted = labelSelector(c.req.query("labelSelector"))(object.metadata.labels)
    const isChosen = fieldSelector(c.req.query("fieldSelector"), fields)(object)
    return answerList(c, plural, isWanted && isChosen ? [object] : [])
  })
  app.get(`${path}/:name`, (c: Context<FrontDoorEnv>) => {
    if (c.req.param("name") !== "operator") throw notFound(`There is no ${plural} "${c.req.param("name")}"`)
    return answerObject(c, plural, operatorObject(operator))
  })
}

function operatorObject({ settings, certificates, sessions, locks }: Operator) {
  const locked = locks.list()
  const object: OperatorObject = {
    spec: {
      operator_version: operatorVersion,
      default_namespace: settings.namespace,
      // Older clients read this list; any other word in it breaks them.
      features: ["ProxyApi"],
      supported_features: [...supportedFeatures],
      // No licence limits podside. Clients insist on the fields.
      license: {
        name: "podside (open source)",
        organization: settings.organization,
        expire_at: licenseEnd,
        fingerprint: certificates.fingerprint,
        subscription_id: null,
      },
      protocol_version: protocolVersion,
      copy_target_enabled: false,
      operator_namespace: null,
    },
    status: {
      sessions: sessions.list().map((session) => sessionSpec(session, locked)),
      statistics: null,
      copy_targets: [],
    },
  }
  return { metadata: { name: "operator", labels: { [versionLabel]: podsideVersion } }, ...object }
}
