import type { ClientChannel } from "./client-channel.ts"
import type { CompiledFilter } from "./filter/filter.ts"

/** One client's wish for the HTTP requests of a port that match. */
export interface FilteredSubscription {
  channel: ClientChannel
  filter: CompiledFilter
  /** The filter as it was asked for, to tell equal ones. */
  source: string
}

/** New connections come to the agent, or they reach the application directly and copies of their packets come to the agent. */
export type Way = "diverted" | "copied"

/** Copies for a client: of every connection, or of the HTTP requests that match. */
export interface MirrorSubscription {
  channel: ClientChannel
  filter: CompiledFilter | undefined
}

/**
 * Who gets the traffic of one port. Either one client steals all of it, or any number of clients steal what matches
 * their filters; mirrors stand beside that. A newcomer that does not fit replaces what was there, as with mirrord.
 */
export class Port {
  readonly number: number
  /** Steals every connection. */
  owner: ClientChannel | undefined
  /** The first that matches gets a request: in order of subscription, but for equal filters. */
  filtered: FilteredSubscription[] = []
  mirrors: MirrorSubscription[] = []
  /** Undefined: not arranged yet. */
  way: Way | undefined

  constructor(number: number) {
    this.number = number
  }

  get unused(): boolean {
    return this.onlyMirrored && this.mirrors.length === 0
  }

  /** Nobody wants more than to look on. */
  get onlyMirrored(): boolean {
    return !this.owner && this.filtered.length === 0
  }

  /** Everybody who gets something of this port. */
  get channels(): ClientChannel[] {
    const all = [...this.filtered, ...this.mirrors].map(({ channel }) => channel)
    return this.owner ? [this.owner, ...all] : all
  }

  stealAll(channel: ClientChannel): void {
    this.filtered = []
    this.owner = channel
  }

  /** Whoever asks for the very same is first: a client comes back before its last connection is known to be dead. */
  stealMatching(channel: ClientChannel, filter: CompiledFilter, source: string): void {
    this.owner = undefined
    const others = this.filtered.filter((other) => other.channel !== channel)
    const equal = others.findIndex((other) => other.source === source)
    this.filtered = others.toSpliced(equal < 0 ? others.length : equal, 0, { channel, filter, source })
  }

  stopStealing(channel: ClientChannel): void {
    if (this.owner === channel) this.owner = undefined
    this.filtered = this.filtered.filter((other) => other.channel !== channel)
  }

  mirror(channel: ClientChannel, filter: CompiledFilter | undefined): void {
    this.mirrors = [...this.mirrors.filter((other) => other.channel !== channel), { channel, filter }]
  }

  stopMirroring(channel: ClientChannel): void {
    this.mirrors = this.mirrors.filter((other) => other.channel !== channel)
  }
}
