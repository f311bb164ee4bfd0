export interface PortForwardHandlers {
  data(bytes: Uint8Array): void
  drain(): void
  /** Called once; `error` is absent when we closed it. */
  closed(error?: Error): void
}

/** A byte stream to one TCP port of a pod, through the API server. It has no half close. */
export interface PortForward {
  /** Nothing is read before this. */
  attach(handlers: PortForwardHandlers): void
  /** One message of all the parts. False: wait for `drain`. */
  write(...parts: Uint8Array[]): boolean
  readonly writable: boolean
  pause(): void
  resume(): void
  close(): void
}
