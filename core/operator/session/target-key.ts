import { formatTarget, type Target } from "../../target.ts"

/** Names what port locks are about: a whole target, whichever of its containers a session named. */
export function targetKey(namespace: string, target: Target): string {
  const whole = target.kind === "targetless" ? target : { ...target, container: undefined }
  return `${namespace}/${formatTarget(whole)}`
}
