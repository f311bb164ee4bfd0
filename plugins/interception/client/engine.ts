import type { Engine } from "../../../core/client/engine.ts"
import { runProgram } from "./running.ts"
import { whyUnavailable } from "./unavailable.ts"

/** The process engine: seccomp user notification, without privileges and without anything loaded into the program. */
export function createEngine(): Engine {
  return { unavailable: async () => whyUnavailable(), launch: runProgram }
}
