/* What `import { … } from "podside"` gives to a plugin from outside. */
export * as v from "valibot"
export { AppError, errorText } from "../errors.ts"
export { definePlugin } from "../plugin.ts"
export { formatTarget, parseTarget } from "../target.ts"
