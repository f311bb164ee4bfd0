/* What `import { … } from "podside"` gives to a plugin from outside; its declarations are made from the same files. */
export * as v from "valibot"
export * from "../client/engine.ts"
export * from "../errors.ts"
export * from "../interceptor.ts"
export * from "../log.ts"
export * from "../plugin.ts"
export * from "../session.ts"
export * from "../target.ts"
