import type { DnsOptions } from "./dns/world.ts"
import type { EnvOptions } from "./env.ts"
import type { FileOptions } from "./files/decide.ts"
import type { IncomingOptions } from "./incoming/options.ts"
import type { OutgoingOptions } from "./outgoing/world.ts"

/** What a session does for its program, each part as its feature wants it. */
export interface FeatureOptions {
  env: EnvOptions
  /** How long the pod's environment may take, in milliseconds. */
  envLimitMs: number
  files: FileOptions
  /** Absent: names are resolved on this machine. */
  dns?: DnsOptions
  outgoing: OutgoingOptions
  incoming: IncomingOptions
  hostname: boolean
  /** False: programs can make no IPv6 sockets. */
  ipv6: boolean
}
