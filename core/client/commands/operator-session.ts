import { flagOption, type OptionValues, type RunCommand, textOption } from "../../cli/command.ts"
import { AppError } from "../../errors.ts"
import { KubeError, type KubeStatus } from "../../kube/errors.ts"
import { type Kube, openKube } from "../../kube/kube.ts"
import { loadForCommand } from "../load.ts"
import { clientCertificate } from "../session/operator/credential.ts"
import { findOperator, type Operator, operatorApi } from "../session/operator/find.ts"
import { kubeOptions } from "../settings.ts"

/** `operator session stop`: ends one session by its hexadecimal id, or all of them. */
export const run: RunCommand = async ({ options }) => {
  const id = textOption(options, "id")
  const all = flagOption(options, "all")
  if ((id === undefined) === !all) {
    const message = all ? "One session and all of them cannot both be meant" : "No session is named"
    throw new AppError("usage", message, { next: "Give --id ID or --all.", exitCode: 2 })
  }
  await endSessions(options, id === undefined ? "" : `/${decimalId(id)}`, {
    what: id === undefined ? "stop all sessions" : `stop session ${id}`,
    done: id === undefined ? "Stopped all sessions." : `Stopped session ${id}.`,
  })
  return 0
}

/** Asks the operator to end what `chosen` names below its sessions, and prints what it answers. @throws AppError "operator-failed" */
export async function endSessions(
  options: OptionValues,
  chosen: string,
  { what, done }: { what: string; done: string },
): Promise<void> {
  const { kube, operator } = await operatorOf(options)
  const headers = { ...operator.headers, "x-client-der": await clientCertificate(kube, operator) }
  const request = { ...(chosen === "" ? {} : { body: {} }), headers, what }
  const answer = await kube
    .request<KubeStatus & { status?: unknown }>("DELETE", `${operatorApi}/sessions${chosen}`, request)
    .catch((thrown) => {
      throw notThere(thrown, what)
    })
  if (answer.status === "Failure")
    throw new AppError("operator-failed", `The operator could not do it: ${answer.message ?? "no reason given"}`, {
      next: "See `podside operator status`, and try again.",
    })
  process.stdout.write(`${answer.message ?? done}\n`)
}

/** An operator that knows no sessions at all answers an unknown path in plain text, or says that the answer cannot be parsed. */
function notThere(thrown: unknown, what: string): unknown {
  if (!(thrown instanceof KubeError) || thrown.status !== 404) return thrown
  const { reason } = thrown.body
  if (reason === undefined || /parse/i.test(reason)) {
    return new AppError("operator-no-sessions", `Cannot ${what}: this operator does not end sessions for its users`, {
      cause: thrown,
      next: "Ask the cluster's owner for a newer one.",
    })
  }
  return new AppError("session-not-found", `Cannot ${what}: there is none of this id`, {
    cause: thrown,
    next: "See `podside operator status`.",
  })
}

async function operatorOf(options: OptionValues): Promise<{ kube: Kube; operator: Operator }> {
  const { config } = await loadForCommand(options)
  const kube = openKube(kubeOptions(config))
  const operator = await findOperator(kube, { ...config, operator: true })
  if (!operator)
    throw new AppError("operator-missing", "The cluster has no operator", {
      next: "Check with --context that it is the right cluster.",
    })
  return { kube, operator }
}

/** People see ids in hexadecimal, the URL wants them in decimal. @throws AppError "usage" */
export function decimalId(id: string): string {
  const plain = id.replace(/^mc-(copy-)?/, "")
  if (!/^[0-9a-f]{1,16}$/i.test(plain)) {
    throw new AppError("usage", `"${id}" is no session id`, { next: "See `podside operator status`.", exitCode: 2 })
  }
  return BigInt(`0x${plain}`).toString()
}
