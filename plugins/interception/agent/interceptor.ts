import { hostname } from "node:os"
import { AppError, errorText } from "../../../core/errors.ts"
import {
  type Diversion,
  type DiversionBackend,
  type DiversionOptions,
  type Endpoint,
  type Interceptor,
  ownMark,
  type Route,
  type TcpEvents,
  type TcpSocket,
} from "../../../core/interceptor.ts"
import { raiseBacklog } from "../../../core/linux/backlog.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import type { Logger } from "../../../core/log.ts"
import { resetConnections } from "../sock-diag.ts"
import { type ApplicationDialer, applicationDialer } from "./application-dialer.ts"
import { forgetConnections } from "./conntrack.ts"
import { Copying } from "./copying.ts"
import { exemptPort } from "./exempt-port.ts"
import { findForeignRules } from "./foreign-agents.ts"
import type { IptablesKind } from "./iptables-programs.ts"
import { openIptablesRules } from "./iptables-rules.ts"
import { reserveLastDescriptor } from "./last-descriptor.ts"
import { openNfTablesRules } from "./nftables-rules.ts"
import type { RuleSet, RuleSetOptions } from "./rule-set.ts"
import { originalDestination, sourceOf, toEvents } from "./tcp-sockets.ts"

const listenBacklog = 4096

export function createInterceptor(log: Logger): Interceptor {
  const closeLast = reserveLastDescriptor()
  return {
    async open(options) {
      const { inNamespace, flushConnections = false, flushConntrack = true, meshExpected = false } = options
      const keepCallers = options.keepCallers ?? true
      const listener = inNamespace(() => listen(options, log))
      const flush = flushConnections && flushConntrack
      const { port: listenerPort } = listener
      const holder = holderName()
      const ruleOptions = { listenerPort, ownMark, keepCallers, flush, meshExpected, closeLast, holder }
      let rules: RuleSet
      try {
        rules = inNamespace(() => openRules(options.backend ?? "auto", ruleOptions))
      } catch (thrown) {
        listener.stop(true)
        throw unavailable(thrown)
      }
      const copying = rules.copies && new Copying(options, rules.copies, listenerPort, log)
      return diversion(options, log, listener, rules, copying)
    },
    async findForeignRules({ inNamespace, containerId }) {
      const { names, remove } = inNamespace(() => findForeignRules(containerId))
      return { names, remove: () => inNamespace(remove) }
    },
    async exemptPort({ inNamespace, backend = "auto", port }) {
      try {
        const end = inNamespace(() => exemptPort(port, holderName(), programsOf(backend)))
        return () => inNamespace(end)
      } catch (thrown) {
        throw unavailable(thrown)
      }
    },
  }
}

function diversion(
  { inNamespace, flushConnections, flushConntrack = true, applicationOnLoopback }: DiversionOptions,
  log: Logger,
  listener: { stop(closeConnections?: boolean): void },
  rules: RuleSet,
  copying: Copying | undefined,
): Diversion {
  let dial = applicationDialer(ownMark, rules.callers)
  return {
    backend: rules.backend,
    async add(ports) {
      inNamespace(() => {
        rules.add(ports)
        copying?.diverted(ports)
        if (!flushConnections) return
        const forgotten = flushConntrack ? forgetConnections(ports) : 0
        log.debug("connections cut", { forgotten, reset: resetConnections(ports) })
      })
    },
    async copy(ports) {
      return copying?.add(ports) ?? false
    },
    async remove(ports) {
      inNamespace(() => rules.remove(ports))
      copying?.removed(ports)
    },
    connectToApplication({ source, destination }, events) {
      const reached = applicationOnLoopback ? loopbackOf(destination) : destination
      return connect(inNamespace, dial, { source, destination: reached }, events)
    },
    async close() {
      dial = applicationDialer(ownMark, undefined)
      inNamespace(() => rules.close())
      copying?.close()
      listener.stop(false)
    },
  }
}

function loopbackOf({ ip, port }: Endpoint): Endpoint {
  return { ip: ip.includes(":") ? "::1" : "127.0.0.1", port }
}

function connect(
  inNamespace: DiversionOptions["inNamespace"],
  dial: ApplicationDialer,
  route: Route,
  events: TcpEvents,
): TcpSocket {
  const fd = inNamespace(() => dial(route))
  let opened: TcpSocket | undefined
  const adopting = Bun.connect<TcpEvents>({
    ...({ fd } as unknown as { hostname: string; port: number }),
    data: events,
    allowHalfOpen: true,
    socket: {
      ...toEvents,
      open(socket) {
        opened = socket
        socket.setNoDelay(true)
      },
    },
  })
  // A failure to connect is also told by `close`.
  adopting.catch(() => {})
  if (!opened) throw new AppError("interception-unavailable", "The runtime did not adopt a socket")
  return opened
}

/** One listener for both families; its own port cannot be used as a way in, because then there is no original destination. */
function listen({ onConnection }: DiversionOptions, log: Logger) {
  const open = (hostname: string) => {
    const listener = Bun.listen<TcpEvents>({
      hostname,
      port: 0,
      allowHalfOpen: true,
      data: undefined as unknown as TcpEvents,
      socket: {
        ...toEvents,
        open(socket) {
          try {
            const destination = originalDestination(socket)
            if (destination.port === listener.port)
              throw new AppError("not-redirected", "Nobody redirected this connection")
            socket.setNoDelay(true)
            socket.data = onConnection({ socket, source: sourceOf(socket), destination })
          } catch (thrown) {
            log.debug("connection dropped", { reason: errorText(thrown) })
            socket.data = deaf
            socket.terminate()
          }
        },
      },
    })
    raiseBacklog(listener, listenBacklog)
    return listener
  }
  try {
    return open("::")
  } catch {
    return open("0.0.0.0")
  }
}

const deaf: TcpEvents = { onData() {}, onDrain() {}, onEnd() {}, onClose() {} }

function openRules(backend: DiversionBackend, options: RuleSetOptions): RuleSet {
  const programs = programsOf(backend)
  if (programs) return openIptablesRules(programs, options)
  if (backend === "nf_tables-unowned") return openNfTablesRules(options, false)
  try {
    return openNfTablesRules(options)
  } catch (thrown) {
    // Where a permission is missing, the programs would fail as well.
    if (backend === "nf_tables" || isLinuxError(thrown, errno.EPERM)) throw thrown
    return openWithoutNfTables(options, thrown)
  }
}

function programsOf(backend: DiversionBackend): IptablesKind | undefined {
  if (backend === "iptables-nft") return "nft"
  return backend === "iptables-legacy" ? "legacy" : undefined
}

/** @throws what nf_tables said, when iptables cannot do better */
function openWithoutNfTables(options: RuleSetOptions, refusal: unknown): RuleSet {
  try {
    return openIptablesRules("legacy", options)
  } catch {
    throw refusal
  }
}

function holderName(): string {
  return hostname()
    .replace(/[^A-Za-z0-9]/g, "_")
    .slice(0, 40)
}

function unavailable(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  const denied = isLinuxError(thrown, errno.EPERM)
  return new AppError("interception-unavailable", `Cannot take incoming traffic: ${errorText(thrown)}`, {
    cause: thrown,
    next: denied
      ? "Give the agent the capability NET_ADMIN (agent.disabled_capabilities must not name it)."
      : "Load the kernel module nf_tables on the node, or choose the iptables backend.",
  })
}
