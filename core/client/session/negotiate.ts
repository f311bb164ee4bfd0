import { AppError } from "../../errors.ts"
import type { Link } from "../../link.ts"
import {
  type ClientMessage,
  compareVersions,
  type DaemonMessage,
  protocolVersion,
  targetEnded,
} from "../../protocol/index.ts"

/**
 * Longest wait for the first answer on a new connection. An agent answers at once when it runs; whoever starts one tries again
 * for as long as its start may take, and an operator begins to count only when its agents stand.
 */
const answerLimitMs = 15_000

/**
 * Agrees on a protocol version and leaves the link paused. The answer has to be the very first message.
 * @throws AppError "agent-silent", "agent-closed" with the agent's reason, "agent-lost"
 */
export async function negotiateVersion(
  link: Link<DaemonMessage, ClientMessage>,
  peer: string,
  offered: string = protocolVersion,
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const limit = setTimeout(() => {
    reject(
      new AppError("agent-silent", `The ${peer} does not answer`, {
        next: "Check that nothing between here and there holds traffic back.",
      }),
    )
  }, answerLimitMs)
  void link.ended.then(({ error }) =>
    reject(
      new AppError(
        "agent-lost",
        `The connection to the ${peer} ended: ${error?.message ?? "closed by the other side"}`,
        { next: "Try again; what its pod has logged may tell why." },
      ),
    ),
  )
  link.receive((message) => {
    link.pause()
    if (message.kind === "SwitchProtocolVersionResponse") resolve(message.value)
    else if (message.kind === "Close") reject(agentClosed(peer, message.value))
    else {
      const text = `The ${peer} answered with ${message.kind} instead of its version`
      reject(
        new AppError("agent-unexpected", text, { next: "Check that an agent of podside or mirrord listens there." }),
      )
    }
  })
  link.send({ kind: "SwitchProtocolVersion", value: offered })
  try {
    const agreed = await promise
    // A server that answers more than was offered is not to be believed.
    return compareVersions(agreed, offered) > 0 ? offered : agreed
  } finally {
    clearTimeout(limit)
  }
}

/** What the other side's reason for closing means to the user. @param peer begins with "agent" or "operator" */
export function agentClosed(peer: string, reason: string): AppError {
  const { code, next } = closing(peer, reason)
  return new AppError(code, `The ${peer} ended the session: ${reason}`, { next })
}

function closing(peer: string, reason: string): { code: string; next: string } {
  if (reason.includes("dirty iptables")) {
    return {
      code: "agent-dirty-rules",
      next: "Wait until the other session on this pod has ended, delete the pod, or set agent.clean_iptables_on_start.",
    }
  }
  if (reason.includes(targetEnded)) {
    return {
      code: "target-ended",
      next: "Start again when the target runs; `kubectl describe pod` tells why it ended.",
    }
  }
  const look = peer.startsWith("operator")
    ? "`podside operator status` shows the sessions there are, and the operator's log tells more."
    : "if it happens again, `kubectl get events` tells who ends the agent's pod."
  return { code: "agent-closed", next: `Start again; ${look}` }
}
