import type { World } from "../../../core/client/engine.ts"
import type { Logger } from "../../../core/log.ts"
import type { Architecture } from "./abi.ts"
import type { InjectedFiles } from "./injected.ts"
import type { Listeners } from "./listeners.ts"
import type { Locator } from "./locate.ts"
import type { PendingWrites } from "./pending-writes.ts"
import type { Readiness } from "./readiness.ts"
import type { DescriptorRanges } from "./rules.ts"
import type { Rung } from "./rung.ts"
import type { SharedState } from "./shared-state.ts"
import type { TcpConnections } from "./tcp-connections.ts"
import type { UdpAssociations } from "./udp-associations.ts"
import type { UnixConnections } from "./unix-connections.ts"
import type { Waits } from "./waits.ts"
import type { WorkingDirectories } from "./working-directories.ts"

/** What the handlers of network calls share besides. */
export interface NetworkSupervision extends Supervision {
  tcp: TcpConnections
  udp: UdpAssociations
  unix: UnixConnections
  listeners: Listeners
  waits: Waits
}

/** What the handlers of one running program share. */
export interface Supervision {
  world: World
  log: Logger
  architecture: Architecture
  ranges: DescriptorRanges
  rung: Rung
  shared: SharedState
  readiness: Readiness
  injected: InjectedFiles
  directories: WorkingDirectories
  pendingWrites: PendingWrites
  locator: Locator
}
