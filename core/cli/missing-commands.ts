const noBranches = "podside's operator has no previews, queues and database branches yet."
const noProxy = "podside needs no proxy process: the session lives in the command that began it."
const sessions =
  'See "podside operator status" and "podside operator session stop"; a session of this machine ends with its program.'
const containers =
  'Run the program itself with "podside exec", or "podside exec" inside of the container ("podside doctor" tells there what it allows).'

/** Commands of mirrord's that podside does not have, with what to do instead. */
export const missingCommands: ReadonlyMap<string, string> = new Map([
  ["container", containers],
  ["container-ext", containers],
  ["up", 'Start one "podside exec" for each service.'],
  ["ci", 'Use "podside exec": it needs nothing else in a pipeline.'],
  ["ui", 'See "podside operator status" for the sessions there are.'],
  ["wizard", 'Write the file with the help of "podside config schema" and "podside verify-config".'],
  ["chaos", "podside makes no faults."],
  ["session", sessions],
  ["sessions", sessions],
  ["kill", sessions],
  ["preview", noBranches],
  ["db-branches", noBranches],
  ["queues", noBranches],
  ["qs", noBranches],
  ["subscribe", "podside's operator tells no events of sessions."],
  ["fix", "Write the absolute path of the user's command into the kubeconfig."],
  ["vpn", 'Use "podside port-forward", or "podside exec" with a shell.'],
  ["intproxy", noProxy],
  ["extproxy", noProxy],
])
