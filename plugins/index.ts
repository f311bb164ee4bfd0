import type { Plugin } from "../core/plugin.ts"

/** The plugins of the binary in the order they are asked, started and listed; each line says why it stands where it does. */
export const builtInPlugins: readonly Plugin[] = []
