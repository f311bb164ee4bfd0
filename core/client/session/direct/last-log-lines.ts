import { AppError } from "../../../errors.ts"
import { KubeError } from "../../../kube/errors.ts"
import type { Kube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import { podPath } from "../../../kube/resources.ts"
import type { CreatedAgent } from "./agent-pod.ts"
import { agentFailed } from "./start-failures.ts"

const tailLines = 5
const maxCharacters = 1_000
/** For a question after a failure, in milliseconds. */
const limitMs = 3_000

/** An agent that ended too early takes its log along when it is removed: what it said last becomes part of the error. */
export async function explained(
  thrown: unknown,
  kube: Kube,
  agent: CreatedAgent | undefined,
  pod: Pod | undefined,
): Promise<unknown> {
  if (!(thrown instanceof AppError) || thrown.code !== agentFailed || thrown.next || !agent || !pod) return thrown
  const { namespace, ephemeralContainer } = agent
  try {
    const lines: string[] = []
    const query = { tailLines, container: ephemeralContainer }
    const options = { query, what: `get pods/log in ${namespace}`, signal: AbortSignal.timeout(limitMs) }
    for await (const line of kube.lines(`${podPath(namespace, pod.metadata.name)}/log`, options))
      if (line.trim() !== "") lines.push(line.trim())
    const said = lines.length === 0 ? "it said nothing" : `it said: ${lines.join(" | ").slice(-maxCharacters)}`
    return withNext(thrown, `; ${said}`, "Check that agent.image is an agent; agent.log_level lets it say more.")
  } catch (failure) {
    if (!(failure instanceof KubeError) || failure.status !== 403) return withNext(thrown, "", "Start again.")
    return withNext(thrown, "", `Its log would tell why: ask the cluster's owner for get pods/log in ${namespace}.`)
  }
}

const withNext = ({ code, message }: AppError, more: string, next: string) =>
  new AppError(code, `${message}${more}`, { next })
