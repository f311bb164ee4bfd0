import { join } from "node:path"
import { installed } from "./run-in-world.ts"

/** Path of the program where it was built elsewhere, for a machine without a compiler. */
export const goClientVariable = "PODSIDE_TEST_GO_CLIENT"

/** Says so loudly when not, because tests are skipped then. */
export function canHaveGoClient(): boolean {
  return process.env[goClientVariable] !== undefined || installed("go")
}

/** The program of `go-client/`, built into `folder`: static, so that no library can be loaded into it. @throws Error */
export function goClient(folder: string, architecture?: "arm64"): string {
  const elsewhere = process.env[goClientVariable]
  if (elsewhere !== undefined) return elsewhere
  const program = join(folder, "go-client")
  const env = { ...process.env, CGO_ENABLED: "0", ...(architecture && { GOARCH: architecture }) }
  const source = join(import.meta.dir, "go-client/main.go")
  const { exitCode, stderr } = Bun.spawnSync(["go", "build", "-o", program, source], { env, stderr: "pipe" })
  if (exitCode !== 0) throw new Error(stderr.toString())
  return program
}
