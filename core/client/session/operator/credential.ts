import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from "node:crypto"
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { homedir, hostname } from "node:os"
import { dirname, join } from "node:path"
import * as v from "valibot"
import { AppError, errorText } from "../../../errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import { bitString, der, fromPem, nullValue, oid, sequence, toPem } from "./der.ts"
import { type Operator, operatorApi } from "./find.ts"
import { retried } from "./retry.ts"

/** One key and certificate for each operator, by the fingerprint of its licence; and the subscription that is a licence of. */
const store = v.record(
  v.string(),
  v.strictObject({ certificate: v.string(), key: v.string(), subscription: v.optional(v.string()) }),
)
type Store = v.InferOutput<typeof store>

const withoutOperator = "Tell the cluster's owner; with `operator: false` podside works without the operator."

export const credentialsPath = (): string => join(homedir(), ".podside", "credentials.json")

export interface CertificateOptions {
  /** Of the store. */
  path?: string
  /** Told when the certificate cannot be kept: the next session has to ask for another. */
  warn?(text: string): void
}

/**
 * Base64 of the DER certificate this user shows to the operator: from the store while it is valid, else newly signed.
 * @throws AppError "operator-credential"
 */
export async function clientCertificate(
  kube: Kube,
  operator: Operator,
  { path = credentialsPath(), warn }: CertificateOptions = {},
): Promise<string> {
  const { fingerprint, subscription_id } = operator.description.spec.license
  const subscription = subscription_id ?? undefined
  if (!fingerprint)
    throw new AppError(
      "operator-credential",
      "The operator names no licence fingerprint, so no certificate can be kept for it",
      { next: withoutOperator },
    )
  const known = await readStore(path)
  const entry = known[fingerprint]
  if (entry && isValid(entry.certificate)) return derText(entry.certificate)
  const kept = entry ?? keyOfSubscription(known, subscription)
  const key = readKey(kept?.key) ?? generateKeyPairSync("ed25519").privateKey
  const certificate = await requestCertificate(kube, operator, key)
  try {
    // Others may have written meanwhile: for other operators, or for this one, to which one machine shows one key.
    const now = await readStore(path)
    const theirs = now[fingerprint]
    if (theirs && isValid(theirs.certificate)) return derText(theirs.certificate)
    await writeStore(path, {
      ...now,
      [fingerprint]: { certificate, key: key.export({ type: "pkcs8", format: "pem" }).toString(), subscription },
    })
  } catch (thrown) {
    warn?.(`the certificate for this user cannot be kept: ${errorText(thrown)}`)
  }
  return derText(certificate)
}

async function requestCertificate(kube: Kube, operator: Operator, key: KeyObject): Promise<string> {
  const csr = signingRequest(key, hostname().toLowerCase() || "localhost")
  const { headers } = operator
  const what = "create mirrordclusteroperatorusercredentials (a certificate for this user)"
  const ask = <T>(path: string, body: unknown) =>
    retried(operator.retry, () => kube.request<T>("POST", `${operatorApi}/${path}`, { body, headers, what }))
  try {
    if (operator.supports("ExtendableUserCredentials")) {
      const kind = "MirrordClusterOperatorUserCredential"
      const body = {
        apiVersion: "operator.metalbear.co/v1",
        kind,
        metadata: { generateName: "mirrord-operator-regular-cred-" },
        spec: { csr, kind: "regular" },
      }
      const answer = await ask<{ status?: { certificate?: string } }>("mirrordclusteroperatorusercredentials", body)
      return checkedPem(answer.status?.certificate)
    }
    // The older route takes the request as a JSON text and answers with one.
    return checkedPem(await ask<string>("mirrordoperators/operator/certificate", csr))
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown
    throw new AppError(
      "operator-credential",
      `The operator's certificate for this user cannot be used: ${errorText(thrown)}`,
      { cause: thrown, next: withoutOperator },
    )
  }
}

function checkedPem(text: unknown): string {
  if (typeof text !== "string") throw new Error("the answer holds no certificate")
  fromPem("CERTIFICATE", text)
  return text
}

/**
 * A PKCS#10 request in the form mirrord's client writes, oddities included: the public key is marked with the identifier of
 * X25519, and every algorithm has an explicit NULL. Operators parse exactly this.
 */
export function signingRequest(key: KeyObject, commonName: string): string {
  const jwk = createPublicKey(key).export({ format: "jwk" })
  const publicKey = Buffer.from(jwk.x!, "base64url")
  const name = sequence(der(0x31, sequence(oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(commonName)))))
  const x25519 = oid(0x2b, 0x65, 0x6e)
  const ed25519 = oid(0x2b, 0x65, 0x70)
  const info = sequence(
    der(0x02, Buffer.from([0])),
    name,
    sequence(sequence(x25519, nullValue), bitString(publicKey)),
    der(0xa0),
  )
  const signature = sign(null, info, key)
  return toPem("CERTIFICATE REQUEST", sequence(info, sequence(ed25519, nullValue), bitString(signature)))
}

/** A renewed licence has another fingerprint; operators know people by their key, and count them by it. */
function keyOfSubscription(known: Store, subscription: string | undefined): Store[string] | undefined {
  if (subscription === undefined) return undefined
  return Object.values(known).findLast((entry) => entry.subscription === subscription)
}

/** A renewed certificate keeps its key, unless somebody has spoilt it. */
function readKey(pem: string | undefined): KeyObject | undefined {
  try {
    return pem === undefined ? undefined : createPrivateKey(pem)
  } catch {
    return undefined
  }
}

const derText = (pem: string) => fromPem("CERTIFICATE", pem).toString("base64")

function isValid(pem: string): boolean {
  try {
    const { validFrom, validTo } = new X509Certificate(normalized(pem))
    return Date.parse(validFrom) < Date.now() && Date.now() < Date.parse(validTo)
  } catch {
    return false
  }
}

const normalized = (pem: string) => pem.replaceAll("\r\n", "\n")

/** A store that cannot be read is begun anew, as if it were not there. */
async function readStore(path: string): Promise<Store> {
  try {
    return v.parse(store, JSON.parse(await readFile(path, "utf8")))
  } catch {
    return {}
  }
}

async function writeStore(path: string, content: Store): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.${process.pid}`
  await writeFile(draft, JSON.stringify(content, null, 2), { mode: 0o600 })
  await rename(draft, path)
}
