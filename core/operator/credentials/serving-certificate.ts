import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import type { OperatorSettings } from "../../../config/operator.ts"
import { AppError, errorText } from "../../errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { OwnerReference } from "../../kube/objects.ts"
import type { Logger } from "../../log.ts"
import { groupVersion } from "../api/resources.ts"
import { type KeyPair, servingKeys } from "./operator-keys.ts"

export interface ServingCertificateOptions {
  kube: Kube
  settings: OperatorSettings
  labels: Record<string, string>
  owner?: OwnerReference
  log: Logger
  signal: AbortSignal
  /** How often a newer certificate is looked for, in milliseconds. Default 5 000 for files, 60 000 for the Secret. */
  lookMs?: number
}

/** Mounted Secrets change up to two minutes after the Secret: what can be saved of that costs nothing. */
const fileLookMs = 5_000
const secretLookMs = 60_000
/** The same after a failure: the APIService may be applied a moment after the operator has started. */
const retryMs = 2_000

/**
 * The certificate of the API and everything that keeps it good: from files, looked at again and again, or the operator's own,
 * renewed in its Secret and made known to the API server. `onChange` hears of each new one.
 */
export async function servingCertificate(
  options: ServingCertificateOptions,
  onChange: (pair: KeyPair) => void,
): Promise<KeyPair> {
  const { signal, log, settings, kube } = options
  const files = settings.certificateFiles
  const lookMs = options.lookMs ?? (files ? fileLookMs : secretLookMs)
  const read = async (): Promise<KeyPair & { authority?: string }> => (files ? readFiles(files) : ownKeys(options))
  let current = await read()
  let trouble = ""
  const look = async () => {
    try {
      const next = await read()
      if (next.cert !== current.cert) {
        onChange(next)
        log.info("serving certificate replaced")
      }
      current = next
      if (settings.manageApiService && next.authority) await makeKnown(kube, next.authority, log)
      trouble = ""
      return lookMs
    } catch (error) {
      const isNew = errorText(error) !== trouble
      trouble = errorText(error)
      if (isNew && !signal.aborted) log.warn("the serving certificate could not be looked after", { error })
      return retryMs
    }
  }
  let timer: ReturnType<typeof setTimeout> | undefined
  const keepLooking = async () => {
    const pauseMs = await look()
    if (!signal.aborted) timer = setTimeout(keepLooking, pauseMs)
  }
  signal.addEventListener("abort", () => clearTimeout(timer))
  await keepLooking()
  return current
}

/** Never half of a pair: while files are replaced, the certificate of one may stand beside the key of the other. */
function readFiles(files: { cert: string; key: string }): KeyPair {
  const where = `The certificate files ${files.cert} and ${files.key}`
  const next = "Check the Secret that is mounted there."
  let pair: KeyPair
  let isPair: boolean
  try {
    pair = { cert: readFileSync(files.cert, "utf8"), key: readFileSync(files.key, "utf8") }
    isPair = new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key))
  } catch (cause) {
    throw new AppError("bad-operator-settings", `${where} cannot be read`, { cause, next })
  }
  if (!isPair) throw new AppError("bad-operator-settings", `${where} do not belong together`, { next })
  return pair
}

function ownKeys({ kube, settings, labels, owner }: ServingCertificateOptions) {
  const { serviceName, namespace } = settings
  const names = [`${serviceName}.${namespace}.svc`, `${serviceName}.${namespace}`, serviceName]
  return servingKeys({ kube, namespace, labels, owner }, names)
}

interface ApiService {
  spec?: { caBundle?: string; insecureSkipTLSVerify?: boolean }
}

/** Writes the CA into the APIService, so that the API server verifies who it talks to. */
async function makeKnown(kube: Kube, authority: string, log: Logger): Promise<void> {
  const [group, version] = groupVersion.split("/")
  const path = `/apis/apiregistration.k8s.io/v1/apiservices/${version}.${group}`
  const caBundle = Buffer.from(authority).toString("base64")
  const { spec } = await kube.request<ApiService>("GET", path, { what: "get the APIService" })
  if (spec?.caBundle === caBundle && !spec.insecureSkipTLSVerify) return
  await kube.request("PATCH", path, {
    body: { spec: { caBundle, insecureSkipTLSVerify: null } },
    contentType: "application/merge-patch+json",
    what: "write the CA into the APIService",
  })
  log.info("the API server was told the operator's CA")
}
