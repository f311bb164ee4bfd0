import type { Engine } from "../../../core/client/engine.ts"
import { type Rung, restrictionOf } from "./kernel/rung.ts"
import { rungHere, whyUnavailable } from "./launch/unavailable.ts"
import { runProgram } from "./running.ts"

/**
 * The process engine: seccomp user notification, without privileges and without anything loaded into the program.
 * `rung`: how it gets at programs, when not in the best way this machine allows.
 */
export function createEngine(rung: () => Rung = rungHere): Engine {
  return {
    unavailable: async () => whyUnavailable(),
    restriction: async () => restrictionOf(rung()),
    launch: (options) => runProgram(options, rung()),
  }
}
