/** Why a link ended. `error` is absent when the peer closed in good order. */
export interface LinkEnd {
  error?: Error
}

/**
 * One end of an ordered, reliable stream of protocol messages, whatever carries it (TCP, unix socket, TLS, WebSocket,
 * Kubernetes port-forward). An agent holds `Link<ClientMessage, DaemonMessage>`; a client the reverse.
 */
export interface Link<In, Out> {
  /**
   * Queues one message and returns at once. False means the queue is above its mark: whoever produces more must wait
   * for `whenWritable()` first. After the link has ended messages are dropped. Bytes in the message must not be changed
   * afterwards. @throws AppError "protocol-bad-value" for what the wire cannot hold; the link goes on without it
   */
  send(message: Out): boolean
  /** Resolves when the queue is below its mark again; also when the link has ended. */
  whenWritable(): Promise<void>
  /**
   * Sets the one receiver; nothing is read from the carrier before that. It must not throw. A large part of a TCP or unix
   * stream may come in several messages of the same kind, for the same connection and not empty, in place of the one sent.
   */
  receive(handler: (message: In) => void): void
  /** Stops reading from the carrier (nested calls count). Messages already decoded may still be delivered. */
  pause(): void
  resume(): void
  /** Sends what is queued, then ends. */
  close(): void
  /** Ends now and drops what is queued. */
  abort(error?: Error): void
  /** Encoded bytes of everything given to `send`, where that is counted. */
  readonly sentBytes?: number
  /** Settles once, never rejects. */
  readonly ended: Promise<LinkEnd>
}
