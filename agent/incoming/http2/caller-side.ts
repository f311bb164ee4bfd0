import type { Outlet } from "../outlet.ts"
import { encodeFrame, type Frame, flags, frameTypes, initialWindow, maxWindow } from "./frames.ts"

/** Every receiver takes frames of this size. */
export const frameSize = 16_384

/**
 * What goes to the caller: the application's frames as they are, and between them those of claimed streams. Both share the
 * connection's flow control window, of which the application does not know that somebody else uses it.
 */
export class CallerSide {
  readonly #outlet: Outlet
  #window = initialWindow
  /** Bytes of the window that answers put in have used, and the application does not know about. */
  #borrowed = 0
  /** Of the application, until the window has room for them. */
  #waiting: Frame[] = []
  /** Of the application, on their way out. */
  #out: Uint8Array[] = []
  /** Nothing may be put in now: the application's greeting must come first, and its header blocks must not be broken. */
  #closedForOthers = true
  #putIn: Uint8Array[] = []
  #over = false

  constructor(outlet: Outlet) {
    this.#outlet = outlet
  }

  /** A frame of the application. It leaves with `flush`. */
  forward(frame: Frame): void {
    const belongsToStream = frame.stream !== 0 && frame.type !== frameTypes.windowUpdate
    const isTooMuch = frame.type === frameTypes.data && frame.payload.length > this.#window
    if (belongsToStream && (this.#waiting.length > 0 || isTooMuch)) this.#waiting.push(frame)
    else this.#send(frame)
  }

  /** As `forward`, for bytes that are not looked at. */
  forwardBytes(bytes: Uint8Array): void {
    this.#out.push(bytes)
  }

  /** False: something waits in the outlet. */
  flush(): boolean {
    let isTaken = true
    if (this.#out.length > 0) isTaken = this.#outlet.writeAll(this.#out.splice(0))
    if (!this.#closedForOthers && this.#putIn.length > 0) this.#outlet.writeAll(this.#putIn.splice(0))
    return isTaken
  }

  /** A frame of a claimed stream, or of the agent itself. */
  put(bytes: Uint8Array): void {
    if (this.#over || bytes.length === 0) return
    if (this.#closedForOthers || this.#out.length > 0) this.#putIn.push(bytes)
    else this.#outlet.write(bytes)
  }

  /** The application will say nothing that what is put in could break. */
  openForOthers(): void {
    this.#closedForOthers = false
  }

  /** Data of a claimed stream, as much as the windows allow; returns how much that was. */
  putData(stream: number, bytes: Uint8Array, streamWindow: number, endStream: boolean): number {
    // What the application has sent already was promised this window first.
    const connectionWindow = this.#waiting.length > 0 ? 0 : this.#window
    const allowed = Math.max(0, Math.min(bytes.length, streamWindow, connectionWindow))
    if (allowed === 0 && bytes.length > 0) return 0
    for (let at = 0; at < allowed || (bytes.length === 0 && at === 0); at += frameSize) {
      const piece = bytes.subarray(at, Math.min(at + frameSize, allowed))
      const last = endStream && at + piece.length === bytes.length
      this.put(encodeFrame(frameTypes.data, last ? flags.endStream : 0, stream, piece))
    }
    this.#window -= allowed
    this.#borrowed += allowed
    return allowed
  }

  /** The caller has room for `bytes` more; returns how many of them the application must hear about. */
  onWindow(bytes: number): number {
    this.#window = Math.min(this.#window + bytes, maxWindow)
    const repaid = Math.min(this.#borrowed, bytes)
    this.#borrowed -= repaid
    this.#sendWaiting()
    return bytes - repaid
  }

  /** Nothing is put in any more; what waits goes out, and then the end. */
  end(): void {
    this.#over = true
    this.#outlet.end()
  }

  #send(frame: Frame): void {
    if (frame.type === frameTypes.data) this.#window -= frame.payload.length
    const opensBlock = frame.type === frameTypes.headers || frame.type === frameTypes.pushPromise
    this.#closedForOthers = (opensBlock || frame.type === frameTypes.continuation) && !(frame.flags & flags.endHeaders)
    this.#out.push(frame.bytes)
  }

  /** It cannot be more than the claimed streams borrowed. */
  #sendWaiting(): void {
    while (this.#waiting.length > 0) {
      const frame = this.#waiting[0]!
      if (frame.type === frameTypes.data && frame.payload.length > this.#window) break
      this.#waiting.shift()
      this.#send(frame)
    }
    this.flush()
  }
}
