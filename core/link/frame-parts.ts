/**
 * Largest payload of one WebSocket frame we send, in bytes: mirrord's client takes no larger ones, and neither may an operator
 * that uses the same library. A message has no such limit but the 64 MiB of its receiver, so it is sent in several frames.
 */
export const maxFrameBytes = 16 << 20

export interface FramePart {
  parts: readonly Uint8Array[]
  length: number
  isFirst: boolean
  isLast: boolean
}

/** A message of `length` bytes, cut into payloads of frames; nothing is copied. */
export function cutIntoFrames(parts: readonly Uint8Array[], length: number, limit = maxFrameBytes): FramePart[] {
  if (length <= limit) return [{ parts, length, isFirst: true, isLast: true }]
  const frames: FramePart[] = []
  let own: Uint8Array[] = []
  let filled = 0
  const finish = (isLast: boolean) => {
    frames.push({ parts: own, length: filled, isFirst: frames.length === 0, isLast })
    own = []
    filled = 0
  }
  for (const part of parts) {
    for (let at = 0; at < part.length; ) {
      if (filled === limit) finish(false)
      const piece = part.subarray(at, at + limit - filled)
      own.push(piece)
      filled += piece.length
      at += piece.length
    }
  }
  finish(true)
  return frames
}
