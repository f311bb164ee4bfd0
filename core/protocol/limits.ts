/** What one message from a peer may cost. Every limit is checked before anything is allocated for it. */
export interface Limits {
  /** Largest encoded message, in bytes. 64 MiB is what mirrord's WebSocket library accepts. */
  maxMessageBytes: number
  /** Elements of all lists, sets, maps and header maps of one message together. */
  maxItems: number
  /** How deep types that contain themselves (HTTP filters) may nest. */
  maxNesting: number
}

export const defaultLimits: Limits = {
  maxMessageBytes: 64 * 1024 * 1024,
  maxItems: 262_144,
  maxNesting: 32,
}
