import type { IncomingHttpHeaders } from "node:http"

/** What is looked at of a request that asks for an upgrade. Requests of `node:http` are such. */
export interface UpgradeRequest {
  method?: string
  url?: string
  /** By lower-case names. */
  headers: IncomingHttpHeaders
  /** Names and values in turn, as received. */
  rawHeaders: string[]
}
