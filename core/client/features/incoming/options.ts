import type { HttpFilter } from "../../../protocol/index.ts"

export interface IncomingOptions {
  mode: "mirror" | "steal" | "off"
  /** The mode the user wants, and cannot have without a target: then `mode` is "off". */
  wanted?: "mirror" | "steal"
  /** Which requests are meant; absent: everything. */
  filter?: HttpFilter
  /** Remote ports the filter is for; absent: all. Others are taken whole. */
  filterPorts?: readonly number[]
  /** Port the program listens on, to the pod's port. */
  portMapping: ReadonlyMap<number, number>
  /** Port the program asks for, to the port of this machine it really gets. */
  listenPorts: ReadonlyMap<number, number>
  ignoreLocalhost: boolean
  /** Ports of the program that stay local. */
  ignorePorts: readonly number[]
  /** Ports of the loopback that belong to a debugger: listeners there stay local, those on other addresses do not. */
  debuggerPorts?: ReadonlySet<number>
  /** The only remote ports that are taken; absent: all. */
  ports?: readonly number[]
  /** Remote ports Kubernetes asks whether the pod is well, as far as is known. */
  probedPorts?: readonly number[]
  /** Traffic whose TLS the agent ended: made TLS again for the program, or given to it plain. */
  tlsDelivery: TlsDelivery
  /** Idle connections to the program are kept this long, in milliseconds. */
  idleConnectionMs: number
}

export interface TlsDelivery {
  protocol: "tls" | "tcp"
  /** PEM of authorities that vouch for the program's certificate; absent: any certificate will do. */
  trustRoots?: readonly string[]
  /** PEM of the one certificate the program may show; never together with `trustRoots`. */
  certificate?: string
  /** Absent: the first name in `certificate`, else that of the original connection, else `localhost`. */
  serverName?: string
}
