import type { Hono } from "hono"
import * as v from "valibot"
import type { Operator } from "../../operator.ts"
import type { FrontDoorEnv } from "../front-door.ts"
import { parseJson, readJson, readText } from "../read-body.ts"
import { groupVersion, userCredentialSchema } from "../resources.ts"
import { badRequest } from "../status.ts"

const maxBodyBytes = 64 * 1024

/** Client certificates, in the current form and in the one older clients use. */
export function addCredentialRoutes(app: Hono<FrontDoorEnv>, { certificates, log }: Operator): void {
  app.post(`/apis/${groupVersion}/mirrordclusteroperatorusercredentials`, async (c) => {
    const body = v.safeParse(
      v.object({
        metadata: v.optional(v.object({ generateName: v.optional(v.string()) })),
        ...userCredentialSchema.entries,
      }),
      await readJson(c, maxBodyBytes),
    )
    if (!body.success) throw badRequest(`Cannot read the credential request: ${body.issues[0].message}`)
    const { spec, metadata } = body.output
    const { pem, kind } = certificates.issue(spec.csr, spec.kind === "ci" ? "ci" : "regular")
    log.info("client certificate issued", { user: c.get("identity").user, kind })
    return c.json(
      {
        apiVersion: groupVersion,
        kind: "MirrordClusterOperatorUserCredential",
        metadata: { name: `${metadata?.generateName ?? "mirrord-operator-cred-"}${crypto.randomUUID().slice(0, 8)}` },
        spec,
        status: { certificate: pem },
      },
      201,
    )
  })

  // The body is PEM, bare or as a JSON string; the content type says JSON either way.
  app.post(`/apis/${groupVersion}/mirrordoperators/operator/certificate`, async (c) => {
    const text = await readText(c, maxBodyBytes)
    const request = text.startsWith('"') ? String(parseJson(text)) : text
    const { pem, kind } = certificates.issue(request, "regular")
    log.info("client certificate issued", { user: c.get("identity").user, kind })
    return c.json(pem)
  })
}
