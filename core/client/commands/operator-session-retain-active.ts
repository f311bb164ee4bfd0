import type { RunCommand } from "../../cli/command.ts"
import { endSessions } from "./operator-session.ts"

/** `operator session retain-active`: ends the sessions that have lost their clients. */
export const run: RunCommand = async ({ options }) => {
  await endSessions(options, "/inactive", {
    what: "stop inactive sessions",
    done: "Stopped all sessions nobody is connected to.",
  })
  return 0
}
