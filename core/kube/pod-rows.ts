import type { Row } from "./table.ts"

/**
 * Whether a session can use a pod now, by its row in a table; undefined where the row does not tell: of a pod some of whose containers
 * are ready it has not their names, and other words come from somebody who has written a reason of his own over the phase.
 */
export function usableByRow(row: Row): boolean | undefined {
  const [, ready, all] = /^(\d+)\/(\d+)$/.exec(row("Ready")) ?? []
  if (ready === undefined) return undefined
  const [status, node] = [row("Status"), row("Node")]
  if (ready === "0" || status === "Terminating") return false
  return ready === all && status === "Running" && node !== "" && node !== "<none>" ? true : undefined
}
