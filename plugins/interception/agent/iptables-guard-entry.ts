import { runGuard } from "./iptables-guard.ts"

await runGuard(process.argv[2] ?? "")
