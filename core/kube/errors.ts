import { AppError, errorText } from "../errors.ts"

/** What Kubernetes says about a failed request; any field may be missing in what a server really sends. */
export interface KubeStatus {
  message?: string
  reason?: string
  code?: number
  details?: unknown
}

/** An answer of the API server that is not a success. `status` is the HTTP status, `body` the Kubernetes Status if there was one. */
export class KubeError extends AppError {
  readonly status: number
  readonly body: KubeStatus
  /** When the server wants to be asked again, if it says so. */
  readonly retryAfterSeconds: number | undefined
  constructor(
    code: string,
    message: string,
    status: number,
    body: KubeStatus,
    more: { next?: string; retryAfterSeconds?: number } = {},
  ) {
    super(code, message, { next: more.next })
    this.status = status
    this.body = body
    this.retryAfterSeconds = more.retryAfterSeconds
  }
}

const codes: Record<number, [code: string, next?: string]> = {
  401: [
    "kube-unauthorized",
    "Log in to the cluster again, and check this machine's clock; `kubectl auth whoami` tells whether it worked.",
  ],
  403: ["kube-forbidden", "Ask the cluster's owner for the permission named above."],
  404: ["kube-not-found", "Check its name and namespace, and that this is the right cluster (--context)."],
  409: ["kube-conflict", "Somebody else changed it in this moment: try again."],
  410: ["kube-expired", "Try again."],
  429: ["kube-busy", "Try again in a few seconds."],
}

/**
 * Turns an error answer into an AppError that says what was refused. `what` reads like "list pods in shop", `retryAfter` is the
 * header's value.
 */
export function statusError(what: string, status: number, text: string, retryAfter?: string | null): KubeError {
  const body = parseStatus(text, status)
  const [code, next] = codes[status] ?? [
    "kube-failed",
    status >= 500 ? "Try again; if it stays so, the cluster's owner should look at its API server." : undefined,
  ]
  const reason = body.message ?? `HTTP status ${status}`
  const retryAfterSeconds = retryAfter && /^\d{1,6}$/.test(retryAfter) ? Number(retryAfter) : undefined
  return new KubeError(code, `Cannot ${what}: ${reason}`, status, body, { next, retryAfterSeconds })
}

function parseStatus(text: string, status: number): KubeStatus {
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === "object" && body !== null && !Array.isArray(body)) {
      const { message, reason, code, details } = body as Record<string, unknown>
      return {
        message: typeof message === "string" ? message : undefined,
        reason: typeof reason === "string" ? reason : undefined,
        code: typeof code === "number" ? code : undefined,
        details,
      }
    }
  } catch {
    // Not JSON: a proxy on the way, or a plain text answer.
  }
  const shown = text.trim().slice(0, 300)
  return { message: shown || undefined, code: status }
}

/** Where the API server is, and the proxy on the way. */
interface Way {
  url: string
  via?: string
}

/** Turns what `fetch` or a socket threw on the way to the API server into an AppError. */
export function transportError(what: string, { url: server, via }: Way, thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  const text = errorText(thrown)
  const code = typeof thrown === "object" && thrown !== null && "code" in thrown ? String(thrown.code) : ""
  if (/CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/.test(code) || /expired|not yet valid/i.test(text)) {
    const clock = new Date().toISOString().slice(0, 16).replace("T", " ")
    return new AppError(
      "kube-certificate-time",
      `Cannot ${what}: the certificate of ${server} does not fit the time (${text})`,
      {
        cause: thrown,
        next: `Check this machine's clock, which says ${clock} UTC; when it is right, the cluster's certificate has to be renewed.`,
      },
    )
  }
  if (/CERT|VERIFY|SSL|TLS|SIGNATURE/.test(code) || /certificate|self.signed/i.test(text)) {
    return new AppError("kube-tls", `Cannot ${what}: the certificate of ${server} was not accepted (${text})`, {
      cause: thrown,
      next: "Check certificate-authority in the kubeconfig and this machine's clock, or use --accept-invalid-certificates.",
    })
  }
  const by = via === undefined ? "" : ` by the proxy ${via}`
  const why = /ECONNREFUSED|ConnectionRefused/.test(`${code} ${text}`) ? "connection refused" : text
  return new AppError("kube-unreachable", `Cannot ${what}: no connection to ${server}${by} (${why})`, {
    cause: thrown,
    next:
      via === undefined
        ? "Check with `kubectl get pods` that the cluster can be reached from here."
        : "Check the proxy: it is that of the kubeconfig (proxy-url), or else of HTTPS_PROXY and NO_PROXY.",
  })
}
