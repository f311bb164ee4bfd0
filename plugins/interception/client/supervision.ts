import type { World } from "../../../core/client/engine.ts"
import type { Logger } from "../../../core/log.ts"
import type { InjectedFiles } from "./files/injected.ts"
import type { Locator } from "./files/locate.ts"
import type { PendingWrites } from "./files/pending-writes.ts"
import type { Architecture } from "./kernel/abi.ts"
import type { DescriptorRanges } from "./kernel/rules.ts"
import type { Rung } from "./kernel/rung.ts"
import type { Listeners } from "./network/listeners.ts"
import type { TcpConnections } from "./network/tcp-connections.ts"
import type { UdpAssociations } from "./network/udp-associations.ts"
import type { UnixConnections } from "./network/unix-connections.ts"
import type { Waits } from "./network/waits.ts"
import type { Readiness } from "./watch/readiness.ts"
import type { SharedState } from "./watch/shared-state.ts"
import type { WorkingDirectories } from "./watch/working-directories.ts"

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
