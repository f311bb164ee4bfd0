import { readFileSync, statSync } from "node:fs"
import type { OperatorSettings } from "../../../config/operator.ts"
import { AppError } from "../../errors.ts"
import type { Kube } from "../../kube/kube.ts"
import type { Logger } from "../../log.ts"
import { groupVersion } from "../api/resources.ts"
import { type KeyPair, servingKeys } from "./operator-keys.ts"

export interface ServingCertificateOptions {
  kube: Kube
  settings: OperatorSettings
  labels: Record<string, string>
  log: Logger
  signal: AbortSignal
}

/** How often files or the Secret are looked at for a newer certificate, in milliseconds. */
const lookMs = 60_000
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
  const read = async (): Promise<KeyPair & { authority?: string }> => (files ? readFiles(files) : ownKeys(options))
  let current = await read()
  const look = async () => {
    try {
      const next = await read()
      if (next.cert !== current.cert) {
        log.info("serving certificate replaced")
        onChange(next)
      }
      current = next
      if (settings.manageApiService && next.authority) await makeKnown(kube, next.authority, log)
      return lookMs
    } catch (error) {
      if (!signal.aborted) log.warn("the serving certificate could not be looked after", { error })
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

function readFiles({ cert, key }: { cert: string; key: string }): KeyPair {
  try {
    statSync(cert)
    return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") }
  } catch (cause) {
    throw new AppError("bad-operator-settings", `The certificate files ${cert} and ${key} cannot be read`, {
      cause,
      next: "Check the Secret that is mounted there.",
    })
  }
}

function ownKeys({ kube, settings, labels }: ServingCertificateOptions) {
  const { serviceName, namespace } = settings
  const names = [`${serviceName}.${namespace}.svc`, `${serviceName}.${namespace}`, serviceName]
  return servingKeys({ kube, namespace, labels }, names)
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
