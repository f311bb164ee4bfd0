/** An application's first frames of HTTP/2; they take some dozens of bytes. */
const maxGreetingBytes = 4096
/** The last byte of the length may be any. */
const settingsHeader = [0, 0, undefined, 4, 0, 0, 0, 0, 0] as const

const empty = Buffer.alloc(0)

/**
 * What an application that speaks first has said, if that is how HTTP/2 begins: the caller gets it only when its own first word is
 * not HTTP/2's. Otherwise another connection is made, which says the same, and to acknowledge it twice is an error.
 */
export class Greeting {
  #said: Buffer = empty

  get isEmpty(): boolean {
    return this.#said.length === 0
  }

  /** False: with these bytes it is none; what was kept before stays. */
  keep(bytes: Buffer): boolean {
    const all = Buffer.concat([this.#said, bytes])
    if (!beginsWithSettings(all) || all.length > maxGreetingBytes) return false
    this.#said = all
    return true
  }

  /** All of it, for the caller or for nobody. */
  take(): Buffer {
    const said = this.#said
    this.#said = empty
    return said
  }
}

/** The first frame of HTTP/2's server: SETTINGS (type 4) without flags on stream 0, of less than 256 bytes; or what may become one. */
function beginsWithSettings(bytes: Buffer): boolean {
  return settingsHeader.every((byte, at) => byte === undefined || at >= bytes.length || bytes[at] === byte)
}
