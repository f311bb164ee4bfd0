/** Nothing has moved for this long: whoever should take it does not. In milliseconds. */
const silenceMs = 5000
const pollMs = 5
/** A look that comes later than this says that this machine stood still (a laptop that was closed), not whoever should take it. */
const latestLookMs = 100

/** A connection a program had open, whose last bytes may still be on their way when the program has ended. */
export interface Speaker {
  /** Whether there may be more to pass on. */
  readonly isSpeaking: boolean
  /** Bytes passed on so far. */
  readonly passedBytes: number
}

/** Of a connection that stands, and of which nothing has been read yet. */
export const unheard: Speaker = { isSpeaking: true, passedBytes: 0 }

/**
 * A program may write and end at once; its kernel would deliver that nevertheless, so a session ends no earlier. Resolves when
 * nobody speaks any more: true, or false when nothing has moved for 5 s.
 */
export async function lastWords(speakers: Iterable<Speaker>): Promise<boolean> {
  let silentMs = 0
  let lookedAt = performance.now()
  let passedBefore = -1
  for (;;) {
    const speaking = [...speakers].filter((speaker) => speaker.isSpeaking)
    if (speaking.length === 0) return true
    const passed = speaking.reduce((sum, { passedBytes }) => sum + passedBytes, speaking.length)
    const now = performance.now()
    silentMs = passed === passedBefore ? silentMs + Math.min(now - lookedAt, latestLookMs) : 0
    if (silentMs > silenceMs) return false
    lookedAt = now
    passedBefore = passed
    await Bun.sleep(pollMs)
  }
}
