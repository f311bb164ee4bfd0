import { AppError } from "../../errors.ts"
import type { Link } from "../../link.ts"
import { type ClientMessage, compareVersions, type DaemonMessage, protocolVersion } from "../../protocol/index.ts"
import { agentClosed } from "../agent-faults.ts"

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
        {
          next: "Try again; what its pod has logged may tell why.",
        },
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
