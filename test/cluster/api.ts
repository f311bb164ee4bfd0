import { join } from "node:path"
import { errorText } from "../../core/errors.ts"
import type { Layout } from "./layout.ts"

/** A GET on the API server as its administrator; the error is a text, because waiting for an answer is the normal use. */
export async function getFromApi(
  layout: Layout,
  path: string,
): Promise<{ ok: true; body: string } | { ok: false; why: string }> {
  const read = (name: string) => Bun.file(join(layout.folder, "pki", name)).text()
  try {
    const [ca, cert, key] = await Promise.all([read("ca.crt"), read("admin.crt"), read("admin.key")])
    const response = await fetch(`https://${layout.nodeAddress}:6443${path}`, {
      tls: { ca, cert, key },
      signal: AbortSignal.timeout(5000),
      keepalive: false,
    })
    const body = await response.text()
    return response.ok
      ? { ok: true, body }
      : { ok: false, why: `${path} answers ${response.status}: ${body.slice(0, 300)}` }
  } catch (error) {
    return { ok: false, why: errorText(error) }
  }
}

/** Null when the node is Ready and has said so since `sinceMs` (milliseconds since 1970), else why it is not. */
export async function nodeNotReady(layout: Layout, sinceMs: number): Promise<string | null> {
  const answer = await getFromApi(layout, `/api/v1/nodes/${layout.node}`)
  if (!answer.ok) return answer.why
  const conditions = JSON.parse(answer.body).status?.conditions ?? []
  const ready = conditions.find((condition: { type: string }) => condition.type === "Ready")
  if (ready?.status !== "True") return `the node is not ready: ${ready?.message ?? "it has not reported yet"}`
  // Reports carry whole seconds.
  if (Date.parse(ready.lastHeartbeatTime) < Math.floor(sinceMs / 1000) * 1000)
    return "the node has not reported since its start"
  return null
}
