import { hostname } from "node:os"
import { AppError, errorText } from "../../../core/errors.ts"
import type {
  Diversion,
  DiversionBackend,
  DiversionOptions,
  Endpoint,
  Interceptor,
  TcpEvents,
  TcpSocket,
} from "../../../core/interceptor.ts"
import { errno, isLinuxError } from "../../../core/linux/errno.ts"
import type { Logger } from "../../../core/log.ts"
import { forgetConnections } from "./conntrack.ts"
import { openIptablesRules } from "./iptables-rules.ts"
import { openNfTablesRules } from "./nftables-rules.ts"
import type { RuleSet, RuleSetOptions } from "./rule-set.ts"
import { connectMarked, originalDestination, sourceOf, toEvents } from "./tcp-sockets.ts"

/** The bit mirrord uses for the same purpose; clear of the marks of kube-proxy, Istio and the common network plugins. */
const ownMark = 0x2000
const listenBacklog = 4096

export function createInterceptor(log: Logger): Interceptor {
  return {
    async open(options) {
      const { inNamespace, flushConnections = false } = options
      const listener = inNamespace(() => listen(options, log))
      const ruleOptions = { listenerPort: listener.port, ownMark, flush: flushConnections, holder: holderName() }
      let rules: RuleSet
      try {
        rules = inNamespace(() => openRules(options.backend ?? "auto", ruleOptions))
      } catch (thrown) {
        listener.stop(true)
        throw unavailable(thrown)
      }
      return diversion(options, log, listener, rules)
    },
  }
}

function diversion(
  { inNamespace, flushConnections }: DiversionOptions,
  log: Logger,
  listener: { stop(closeConnections?: boolean): void },
  rules: RuleSet,
): Diversion {
  return {
    backend: rules.backend,
    async add(ports) {
      inNamespace(() => {
        rules.add(ports)
        if (flushConnections) log.debug("connections cut", { count: forgetConnections(ports) })
      })
    },
    async remove(ports) {
      inNamespace(() => rules.remove(ports))
    },
    connectToApplication: (destination, events) => connect(inNamespace, destination, events),
    async close() {
      inNamespace(() => rules.close())
      listener.stop(false)
    },
  }
}

function connect(inNamespace: DiversionOptions["inNamespace"], destination: Endpoint, events: TcpEvents): TcpSocket {
  const fd = inNamespace(() => connectMarked(destination, ownMark))
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
      ...{ backlog: listenBacklog },
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
  if (backend === "iptables-nft") return openIptablesRules("nft", options)
  if (backend === "iptables-legacy") return openIptablesRules("legacy", options)
  try {
    return openNfTablesRules(options)
  } catch (thrown) {
    // Where a permission is missing, the programs would fail as well.
    if (backend === "nf_tables" || isLinuxError(thrown, errno.EPERM)) throw thrown
    return openWithoutNfTables(options, thrown)
  }
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
