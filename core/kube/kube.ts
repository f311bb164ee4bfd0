import type { KubeConfig } from "@kubernetes/client-node"
import { AppError } from "../errors.ts"
import type { ServerAccess } from "./access.ts"
import { statusError, transportError } from "./errors.ts"
import { type KubeOptions, type LoadedKubeConfig, loadKubeConfig } from "./kubeconfig.ts"
import { readLines } from "./lines.ts"
import { createLogin } from "./login.ts"
import { fetchBy } from "./proxy.ts"
import { sendRepeated } from "./repeated-headers.ts"

export type Query = Record<string, string | number | boolean | undefined>

export interface RequestOptions {
  query?: Query
  /** Sent as JSON. */
  body?: unknown
  /** A list is sent as one line for each value; such requests are for short answers and go through no proxy. */
  headers?: Readonly<Record<string, string | readonly string[]>>
  /** Default `application/json`; for PATCH name one of Kubernetes' patch types. */
  contentType?: string
  signal?: AbortSignal
  /** Longest time to the whole answer. Default 30 000; 0 = none. */
  timeoutMs?: number
  /** Says in errors what was asked: "list pods in shop". Default: method and path. */
  what?: string
}

export interface WatchEvent<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"
  object: T
}

/** A connection to one Kubernetes API server as one user. Bodies have the shape of client-node's models, with dates as text. */
export interface Kube {
  /** For the generated API classes of client-node: `kube.config.makeApiClient(CoreV1Api)`. */
  readonly config: KubeConfig
  /** Namespace of the context, else "default". */
  readonly namespace: string
  readonly context: string
  /** Address of the API server, for messages. */
  readonly server: string
  /** What to present to the server now. */
  access(): Promise<ServerAccess>
  /** For those who open their own connection: `work` is done again with new credentials when the server does not take the old ones. */
  use<T>(work: (access: ServerAccess) => Promise<T>): Promise<T>
  /** @throws KubeError for an error answer; AppError "kube-unreachable", "kube-tls", "kube-timeout" */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>
  /** All items of a list, asked for in pages of 500. */
  list<T>(path: string, options?: RequestOptions): Promise<T[]>
  /** The same, page by page: for lists too long to be held whole. */
  pages<T>(path: string, options?: RequestOptions): AsyncGenerator<T[]>
  /** Ends when the server ends the watch; @throws KubeError code "kube-expired" when `resourceVersion` is too old. */
  watch<T>(path: string, options?: RequestOptions): AsyncGenerator<WatchEvent<T>>
  /** Lines of a streamed answer, such as a followed log. */
  lines(path: string, options?: RequestOptions): AsyncGenerator<string>
}

const defaultTimeoutMs = 30_000
const pageSize = 500

/** @throws AppError "kube-config" */
export function openKube(options: KubeOptions = {}): Kube {
  const loaded = loadKubeConfig(options)
  // Whoever chooses another context meanwhile does not mean a session that runs.
  const context = options.inCluster ? undefined : loaded.config.getCurrentContext()
  return kubeOf(loaded, () => loadKubeConfig({ ...options, context: options.context ?? context }))
}

/** @param reload reads the same context again */
export function kubeOf(loaded: LoadedKubeConfig, reload?: () => LoadedKubeConfig): Kube {
  const { config } = loaded
  const login = createLogin(loaded, reload)
  const server = config.getCurrentCluster()?.server ?? ""

  const open = (method: string, path: string, options: RequestOptions, streamed: boolean): Promise<Response> =>
    login.use((access) => send(access, method, path, options, streamed))

  const send = async (
    access: ServerAccess,
    method: string,
    path: string,
    options: RequestOptions,
    streamed: boolean,
  ): Promise<Response> => {
    const what = options.what ?? `${method} ${path}`
    const limits = [options.signal, streamed ? undefined : timeout(options.timeoutMs)].filter(
      (limit) => limit !== undefined,
    )
    const headers: Record<string, string | readonly string[]> = {
      Accept: "application/json",
      ...access.headers,
      ...options.headers,
    }
    if (options.body !== undefined) headers["Content-Type"] = options.contentType ?? "application/json"
    const url = address(access.url, path, options.query)
    const body = options.body === undefined ? undefined : JSON.stringify(options.body)
    const signal = limits.length > 0 ? AbortSignal.any(limits) : undefined
    const repeated = Object.values(headers).some((value) => typeof value !== "string")
    try {
      if (repeated)
        return await accepted(what, await sendRepeated(url, { method, headers, body, signal, tls: access.tls }))
      const response = await fetchBy(access.proxy, url, {
        method,
        headers: headers as Record<string, string>,
        body,
        signal,
        redirect: "error",
        tls: access.tls,
        // A quiet watch is not a broken one.
        ...(streamed ? { timeout: false } : {}),
      })
      return await accepted(what, response)
    } catch (thrown) {
      if (options.signal?.aborted) throw options.signal.reason
      if (thrown instanceof DOMException && thrown.name === "TimeoutError") {
        throw new AppError("kube-timeout", `Cannot ${what}: ${server} did not answer in time`, {
          next: "Check that the cluster can be reached from here, then try again.",
        })
      }
      throw transportError(what, access, thrown)
    }
  }

  const stream = async function* (path: string, options: RequestOptions): AsyncGenerator<string> {
    const response = await open("GET", path, options, true)
    if (response.body) yield* readLines(response.body)
  }

  return {
    config,
    namespace: config.getContextObject(config.getCurrentContext())?.namespace ?? "default",
    context: config.getCurrentContext(),
    server,
    access: login.access,
    use: login.use,
    request: async <T>(method: string, path: string, options: RequestOptions = {}) =>
      parseBody<T>(await (await open(method, path, options, false)).text(), options.what ?? `${method} ${path}`),
    async list<T>(path: string, options: RequestOptions = {}) {
      const items: T[] = []
      for await (const page of this.pages<T>(path, options)) items.push(...page)
      return items
    },
    // By `this`, so that a caller's view of Kubernetes asks for each page as the caller.
    async *pages<T>(path: string, options: RequestOptions = {}) {
      let next: string | undefined
      do {
        const query = { ...options.query, limit: pageSize, continue: next }
        const page = await this.request<{ items?: T[] | null; metadata?: { continue?: string } }>("GET", path, {
          ...options,
          query,
        })
        yield page.items ?? []
        next = page.metadata?.continue || undefined
      } while (next)
    },
    async *watch<T>(path: string, options: RequestOptions = {}) {
      const query = { ...options.query, watch: true }
      const what = options.what ?? `watch ${path}`
      for await (const line of stream(path, { ...options, query, what })) {
        if (line === "") continue
        const event = parseBody<WatchEvent<T> | { type: "ERROR"; object: { code?: number } }>(line, what)
        if (event.type === "ERROR") throw statusError(what, event.object.code ?? 500, JSON.stringify(event.object))
        yield event as WatchEvent<T>
      }
    },
    lines: (path, options = {}) => stream(path, options),
  }
}

async function accepted(what: string, response: Response): Promise<Response> {
  if (response.ok) return response
  throw statusError(what, response.status, await response.text(), response.headers.get("retry-after"))
}

function address(server: string, path: string, query: Query = {}): string {
  const url = new URL(server + path)
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value))
  return url.href
}

function timeout(ms = defaultTimeoutMs): AbortSignal | undefined {
  return ms === 0 ? undefined : AbortSignal.timeout(ms)
}

function parseBody<T>(text: string, what: string): T {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new AppError("kube-bad-answer", `Cannot ${what}: the answer is not JSON`, {
      cause,
      next: "Check that the server of the kubeconfig is a Kubernetes API server.",
    })
  }
}
