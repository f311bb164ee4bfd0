import { AppError, errorText } from "../errors.ts"
import type { OutgoingWorld } from "./engine.ts"
import type { Names } from "./features/dns/lookup.ts"
import { isIpText } from "./features/dns/message.ts"
import { LocalStream } from "./local-stream.ts"
import type { Forward } from "./port-mapping.ts"

export interface ForwardParts {
  outgoing: Pick<OutgoingWorld, "connect">
  names: Pick<Names, "remote">
  warn(text: string): void
}

/** Listens on this machine; every connection is made again from inside the target. @throws AppError "port-taken" */
export function listenForward(forward: Forward, parts: ForwardParts): { stop(): void } {
  try {
    const listener = Bun.listen<LocalStream>({
      hostname: "127.0.0.1",
      port: forward.local,
      allowHalfOpen: true,
      socket: {
        ...LocalStream.callbacks,
        open(socket) {
          const stream = new LocalStream(socket)
          stream.pause()
          join(stream, forward, parts).catch((thrown) => {
            parts.warn(`${forward.host}:${forward.remote}: ${errorText(thrown)}`)
            stream.destroy()
          })
        },
      },
    })
    return { stop: () => listener.stop(true) }
  } catch (cause) {
    throw new AppError("port-taken", `Cannot listen on 127.0.0.1:${forward.local}: ${reasonOf(cause)}`, {
      cause,
      next: `Choose another port: -L LOCAL:${forward.host}:${forward.remote}.`,
    })
  }
}

/** The runtime's text is the same for all reasons. */
function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  if (code === "EADDRINUSE") return "somebody else listens there"
  return code === "EACCES" ? "this port is for root alone" : errorText(cause)
}

async function join(stream: LocalStream, forward: Forward, { outgoing, names }: ForwardParts): Promise<void> {
  const ip = await resolve(forward.host, names)
  const remote = await outgoing.connect({ kind: "tcp", endpoint: { ip, port: forward.remote } })
  // Whoever it is for did not wait for it.
  if (stream.isOver) return remote.close()
  stream.handlers = {
    data(bytes) {
      if (!remote.write(bytes)) stream.pause()
    },
    drain: () => remote.resume(),
    end: () => remote.end(),
    closed: () => remote.close(),
  }
  remote.attach({
    onData(bytes) {
      if (!stream.write(bytes)) remote.pause()
    },
    onDrain: () => stream.resume(),
    onEnd: () => stream.end(),
    onClose: () => stream.end(),
  })
  stream.resume()
}

/** As the target would, IPv4 first. */
async function resolve(host: string, names: Pick<Names, "remote">): Promise<string> {
  if (isIpText(host)) return host
  for (const family of [4, 6] as const) {
    const result = await names.remote(host, family)
    if ("ips" in result && result.ips[0] !== undefined) return result.ips[0]
  }
  throw new AppError("name-unknown", `The target cannot resolve "${host}"`)
}
