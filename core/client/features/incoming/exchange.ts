import type { HttpHeaders } from "../../../protocol/index.ts"
import type { RequestHead } from "./http1-request.ts"
import type { ResponseHead } from "./http1-response.ts"

/** What a request brings into an exchange with the program, piece by piece. */
export interface RequestBody {
  data(bytes: Uint8Array): void
  end(trailers?: HttpHeaders): void
}

/** What the program answers. */
export interface ExchangeEvents {
  head(head: ResponseHead): void
  body(bytes: Uint8Array): void
  done(trailers: HttpHeaders | undefined): void
  /** Bytes of the new protocol after a 101; empty: the program sends no more. */
  tunnel(bytes: Uint8Array): void
  /** Before `head`: nothing was answered. After it: the answer broke off. */
  failed(reason: string): void
  /** Less waits for the program than before. */
  drained(): void
}

/** One request on its way to the program, whatever version of HTTP carries it. */
export interface Exchange {
  body: RequestBody
  /** What the program has not taken yet. */
  readonly waitingBytes: number
  /** Bytes of the new protocol after a 101; empty: the caller sends no more. */
  tunnel(bytes: Uint8Array): void
  pause(): void
  resume(): void
  /** The caller is gone. */
  cancel(): void
  /** The program is gone: what it has answered may still come, but nobody else will. */
  stopTrying?(): void
}

export interface ExchangeRequest extends RequestHead {
  /** A body follows, or may follow. */
  hasBody: boolean
}
