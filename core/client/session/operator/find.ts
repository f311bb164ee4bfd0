import { hostname } from "node:os"
import * as v from "valibot"
import type { Config } from "../../../../config/load.ts"
import { podsideVersion } from "../../../cli/version.ts"
import { AppError } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import { userName } from "../../user-name.ts"
import { type OutOfService, outOfService } from "./out-of-service.ts"
import { type RetryOptions, retried } from "./retry.ts"

/** A trial that ends so soon is a warning, in days. */
const lateDays = 2

export const operatorApi = "/apis/operator.metalbear.co/v1"

const portLock = v.looseObject({ port: v.number(), kind: v.string(), filter: v.nullish(v.string()) })
const sessionEntry = v.looseObject({
  id: v.nullish(v.string()),
  duration_secs: v.number(),
  user: v.string(),
  target: v.string(),
  namespace: v.nullish(v.string()),
  locked_ports: v.nullish(v.array(portLock)),
  key: v.nullish(v.string()),
})
export type OperatorSessionEntry = v.InferOutput<typeof sessionEntry>

/** The operator's description of itself, as far as a client needs it. */
const mirrordOperator = v.looseObject({
  metadata: v.optional(v.looseObject({ labels: v.nullish(v.record(v.string(), v.string())) })),
  spec: v.looseObject({
    operator_version: v.pipe(v.string(), v.regex(/^\d+\.\d+\.\d+/)),
    default_namespace: v.string(),
    features: v.nullish(v.array(v.string())),
    supported_features: v.nullish(v.array(v.string())),
    license: v.looseObject({
      name: v.string(),
      organization: v.string(),
      expire_at: v.string(),
      fingerprint: v.nullish(v.string()),
      subscription_id: v.nullish(v.string()),
    }),
    protocol_version: v.nullish(v.string()),
  }),
  status: v.nullish(
    v.looseObject({
      sessions: v.array(sessionEntry),
      statistics: v.nullish(v.looseObject({ dau: v.number(), mau: v.number() })),
    }),
  ),
})
export type MirrordOperator = v.InferOutput<typeof mirrordOperator>

export interface Operator {
  description: MirrordOperator
  supports(feature: string): boolean
  /** Headers every request to this operator carries. */
  headers: Record<string, string>
  /** How often it is asked again while it is busy. */
  retry: RetryOptions
}

/**
 * The cluster's operator; undefined when there is none, or when it is out of service or its licence has run out and the
 * configuration does not insist. `passedBy` hears why one that is there is done without.
 * @throws KubeError when it is there but cannot be asked; AppError "operator-out-of-service", "operator-license"
 */
export async function findOperator(
  kube: Kube,
  config: Pick<Config, "operator" | "baggage" | "startup_retry">,
  passedBy?: (why: OutOfService) => void,
): Promise<Operator | undefined> {
  const headers = clientHeaders(config.baggage)
  const found = await describe(kube, headers, config, passedBy)
  if (!found) return undefined
  const { spec } = found
  if (daysLeft(spec.license.expire_at) < 0) {
    if (config.operator !== true) {
      passedBy?.({ reason: "its licence has run out", next: "Ask the cluster's owner to renew it." })
      return undefined
    }
    throw new AppError("operator-license", "The licence of the cluster's operator has run out", {
      next: "Ask the cluster's owner to renew it, or leave out `operator: true` to work without.",
    })
  }
  const supported = new Set(spec.supported_features ?? spec.features ?? [])
  return { description: found, supports: (feature) => supported.has(feature), headers, retry: config.startup_retry }
}

async function describe(
  kube: Kube,
  headers: Record<string, string>,
  { operator, startup_retry }: Pick<Config, "operator" | "startup_retry">,
  passedBy?: (why: OutOfService) => void,
): Promise<MirrordOperator | undefined> {
  const required = operator === true
  const what = "get mirrordoperators (is there an operator?)"
  const ask = () => kube.request("GET", `${operatorApi}/mirrordoperators/operator`, { headers, what })
  try {
    return readDescription(await retried(startup_retry, ask))
  } catch (thrown) {
    if (!(thrown instanceof KubeError)) throw thrown
    const registered = await isRegistered(kube, headers)
    if (registered === "yes") throw thrown.status === 403 ? maySeeNone(thrown) : thrown
    if (registered === "no" || !(required || passedBy)) return undefined
    const why = thrown.status === 503 ? await outOfService(kube, thrown) : undefined
    if (!required) {
      if (why) passedBy?.(why)
      return undefined
    }
    if (!why) throw thrown
    const { reason, next } = why
    const message = `The cluster's operator is out of service: ${reason}`
    throw new AppError("operator-out-of-service", message, { next, cause: thrown })
  }
}

/** Somebody may have every right to work without the operator, and none to see it. */
function maySeeNone({ code, message, status, body }: KubeError): KubeError {
  return new KubeError(code, message, status, body, {
    next: "Ask the cluster's owner for the ClusterRole mirrord-operator-user, or set `operator: false` to work without the operator.",
  })
}

export function readDescription(answer: unknown): MirrordOperator {
  const parsed = v.safeParse(mirrordOperator, answer)
  if (parsed.success) return parsed.output
  throw new AppError(
    "operator-bad-answer",
    `The operator describes itself in an unknown form: ${parsed.issues[0].message}`,
    {
      next: "Use a client and an operator of matching versions.",
    },
  )
}

/** `unknown` when even this question fails: an operator that is down must not keep people from working without it. */
async function isRegistered(kube: Kube, headers: Record<string, string>): Promise<"yes" | "no" | "unknown"> {
  try {
    const list = await kube.request<{ resources?: { kind?: string; name?: string }[] }>("GET", operatorApi, { headers })
    return list.resources?.some(({ kind, name }) => kind === "MirrordOperator" && !name?.includes("/")) ? "yes" : "no"
  } catch (thrown) {
    return thrown instanceof KubeError && thrown.status === 404 ? "no" : "unknown"
  }
}

/** What a user should know about a licence that is on trial. */
export function trialNotice(
  { license }: MirrordOperator["spec"],
  now = new Date(),
): { text: string; isLate: boolean } | undefined {
  if (!license.name.includes("(Trial)")) return undefined
  const days = daysLeft(license.expire_at, now)
  const end = days === 0 ? "today" : `in ${days} ${days === 1 ? "day" : "days"}`
  return { text: `the operator's trial licence ends ${end}`, isLate: days <= lateDays }
}

/** Whole days until the end of a licence (`YYYY-MM-DD`), by UTC; the day itself is 0. */
export function daysLeft(expireAt: string, now = new Date()): number {
  const today = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate())
  return Math.round((Date.parse(`${expireAt}T00:00:00Z`) - today) / 86_400_000)
}

function clientHeaders(baggage: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {
    "x-mirrord-cli-version": mirrordCompatibleVersion,
    "user-agent": `podside/${podsideVersion}`,
  }
  for (const [name, value] of [
    ["x-client-name", userName()],
    ["x-client-hostname", hostname()],
  ] as const) {
    const clean = value.replaceAll(/[^\x20-\x7e]/g, "").trim()
    if (clean) headers[name] = clean
  }
  if (baggage) headers["baggage"] = baggage
  return headers
}

/** Operators compare it with what they know; it names the mirrord release whose behaviour this client has. */
const mirrordCompatibleVersion = "3.250.0"
