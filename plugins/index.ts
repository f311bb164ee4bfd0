import type { Plugin } from "../core/plugin.ts"
import interception from "./interception/plugin.ts"
import rbacImpersonation from "./rbac-impersonation/plugin.ts"

/** The plugins of the binary in the order they are asked, started and listed; each line says why it stands where it does. */
export const builtInPlugins: readonly Plugin[] = [
  // First: what a caller may see comes before whatever else is decided about a session.
  rbacImpersonation,
  // Last: it acts on what the others have let through.
  interception,
]
