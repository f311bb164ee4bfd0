import type { Link } from "../core/link.ts"
import type { ClientMessage, DaemonMessage } from "../core/protocol/index.ts"

/** The agent's end of a link with a client, or with the operator in a client's stead. */
export type ClientLink = Link<ClientMessage, DaemonMessage>
