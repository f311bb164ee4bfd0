import type { LiveKeys } from "../share-link/live-keys.ts"
import { readShareLink, type ShareLink } from "../share-link/share-link.ts"
import { encodeRequestHead, type RequestHead } from "./request-head.ts"

/** The shared link of a connection's next request, which may have to be looked at several times before it is clear whose it is. */
export class RequestLink {
  readonly #keys: LiveKeys
  #link: ShareLink | { kind: "none" } | undefined

  constructor(keys: LiveKeys) {
    this.#keys = keys
  }

  /** The head as if the request had come without its link; undefined when it stays as it is. */
  read(head: RequestHead): Buffer | undefined {
    if (this.#link !== undefined || !this.#keys.used) return undefined
    this.#link = readShareLink(head, (key) => this.#keys.has(key)) ?? { kind: "none" }
    if (this.#link.kind !== "goes-on") return undefined
    return encodeRequestHead(head, this.#link.request.target, this.#link.request.headers)
  }

  /** The session it leads to is over. */
  get ended(): Extract<ShareLink, { kind: "ended" }> | undefined {
    return this.#link?.kind === "ended" ? this.#link : undefined
  }

  /** The request is on its way; what its answer is to carry. */
  takeCookie(): string | undefined {
    const link = this.#link
    this.#link = undefined
    return link === undefined || link.kind === "none" ? undefined : link.setCookie
  }
}
