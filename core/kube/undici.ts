/*
 * The three names `@kubernetes/client-node` imports from undici, over Bun's own fetch. See undici-fix.ts for the reason.
 */

import { fetchBy } from "./proxy.ts"

interface TlsOptions {
  ca?: Uint8Array | string
  cert?: Uint8Array | string
  key?: Uint8Array | string
  passphrase?: string
  servername?: string
  rejectUnauthorized?: boolean
}

interface DispatcherOptions {
  connect?: TlsOptions | (() => void)
  requestTls?: TlsOptions
  /** Address of an HTTP proxy. */
  uri?: string
}

/** Keeps what undici would use to connect, for `fetch` to read. */
export class Agent {
  readonly options: DispatcherOptions
  constructor(options: DispatcherOptions = {}) {
    if (typeof options.connect === "function")
      throw new Error("SOCKS proxies are not supported here; use an HTTP proxy")
    this.options = options
  }
  async close(): Promise<void> {}
  async destroy(): Promise<void> {}
}

export class ProxyAgent extends Agent {}

type FetchInit = BunFetchRequestInit & { dispatcher?: Agent }

export function fetch(url: string | URL | Request, init: FetchInit = {}): Promise<Response> {
  const { dispatcher, ...rest } = init
  const options = dispatcher?.options ?? {}
  const from = options.requestTls ?? (options.connect as TlsOptions | undefined) ?? {}
  const tls = {
    ca: from.ca as string | undefined,
    cert: from.cert as string | undefined,
    key: from.key as string | undefined,
    passphrase: from.passphrase,
    serverName: from.servername,
    rejectUnauthorized: from.rejectUnauthorized ?? true,
  }
  return fetchBy(options.uri, url, { ...rest, tls })
}
