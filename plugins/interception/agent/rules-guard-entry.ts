import { runGuard } from "./rules-guard.ts"

await runGuard(process.argv[2] ?? "")
