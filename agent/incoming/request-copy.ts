import type { HttpHeaders } from "../../core/protocol/index.ts"
import { ClaimedRequest, type OutgoingRequest } from "./claimed-request.ts"
import type { ClientChannel } from "./client-channel.ts"
import { isForClients } from "./client-uri.ts"
import type { ReadableRoute } from "./connection.ts"
import type { CompiledFilter, FilterRequest } from "./filter/filter.ts"

/** A copy of one request for a mirroring client, if its filter matches. Whatever delays it ends it: the target never waits. */
export class RequestCopy {
  readonly #channel: ClientChannel
  readonly #connection: ReadableRoute
  readonly #request: OutgoingRequest
  readonly #filter: CompiledFilter
  readonly #facts: FilterRequest
  readonly #maxBodyBytes: number
  #copy: ClaimedRequest | undefined
  /** The body so far, while the filter waits for the whole of it. */
  #collected: Uint8Array[] | undefined
  #collectedBytes = 0
  #over = false

  constructor(
    channel: ClientChannel,
    connection: ReadableRoute,
    request: OutgoingRequest,
    filter: CompiledFilter,
    facts: FilterRequest,
    maxBodyBytes: number,
  ) {
    this.#channel = channel
    this.#connection = connection
    this.#request = request
    this.#filter = filter
    this.#facts = facts
    this.#maxBodyBytes = maxBodyBytes
    if (!isForClients(request.uri)) this.#over = true
    else if (filter.needsBody) this.#collected = []
    else if (filter.matches(facts)) this.#open()
    else this.#over = true
  }

  data(content: Uint8Array): void {
    if (this.#over || content.length === 0) return
    if (this.#collected) {
      this.#collected.push(content)
      this.#collectedBytes += content.length
      if (this.#collectedBytes > this.#maxBodyBytes) this.#over = true
    } else if (this.#channel.full) {
      this.#channel.lost.add("request", "the client reads too slowly")
      this.abandon()
    } else this.#copy?.body([{ kind: "Data", value: content }], false)
  }

  end(trailers: HttpHeaders | undefined): void {
    if (this.#over) return
    if (this.#collected) {
      const body = Buffer.concat(this.#collected)
      this.#collected = undefined
      if (!this.#filter.matches({ ...this.#facts, body })) {
        this.#over = true
        return
      }
      this.#open()
      if (body.length > 0) this.#copy?.body([{ kind: "Data", value: body }], false)
    }
    this.#copy?.body(trailers ? [{ kind: "Trailers", value: trailers }] : [], true)
    this.abandon()
  }

  /** No more of it will come. */
  abandon(): void {
    this.#over = true
    this.#copy?.close()
  }

  #open(): void {
    const { client } = this.#channel
    if (this.#channel.full) {
      this.#over = true
      return
    }
    if (!client.supports("modeAgnosticHttp")) {
      client.tell("Error", "a request was not mirrored: the client is too old for it")
      this.#over = true
      return
    }
    const ignore = () => {}
    this.#copy = new ClaimedRequest(this.#channel, this.#connection, this.#request, {
      onResponse: ignore,
      onTunnelData: ignore,
      onClientGone: () => (this.#over = true),
      onFull: ignore,
      onWritable: ignore,
    })
    this.#copy.start([], false)
  }
}
