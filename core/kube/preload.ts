import { plugin } from "bun"
import { clientNodeFix } from "./undici-fix.ts"

await plugin(clientNodeFix)
