import { AppError, errorText } from "../../errors.ts"
import { askingSide, connectLink, type StreamAddress } from "../../link/index.ts"
import type { AgentSession } from "../agent-session.ts"
import { negotiateVersion } from "./negotiate.ts"

/** Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. @throws AppError "bad-agent-address" */
export function parseAgentAddress(text: string): StreamAddress {
  if (text.startsWith("unix:") && text.length > "unix:".length) return { unix: text.slice("unix:".length) }
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const hostname = bracketed ?? plain
  if (!hostname || Number(port) < 1 || Number(port) > 65_535) {
    throw new AppError("bad-agent-address", `Cannot read the agent address "${text}"`, {
      next: "Write it as HOST:PORT, [IPV6]:PORT or unix:PATH.",
      exitCode: 2,
    })
  }
  return { hostname, port: Number(port) }
}

/** A session with an agent that runs already. Nothing is created, so nothing is removed at the end. */
export async function connectToAddress(text: string): Promise<AgentSession> {
  const address = parseAgentAddress(text)
  const peer = `agent at ${text}`
  const link = await connectLink(askingSide, address).catch((cause) => {
    throw new AppError("agent-unreachable", `There is no agent: ${errorText(cause)}`, {
      cause,
      next: "Check that the agent is running and listens there.",
    })
  })
  try {
    const protocolVersion = await negotiateVersion(link, peer)
    return {
      link,
      protocolVersion,
      peer,
      async close() {
        link.close()
        await link.ended
      },
    }
  } catch (thrown) {
    link.abort()
    throw thrown
  }
}
