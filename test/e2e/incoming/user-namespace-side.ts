import { startAgentProcess } from "./agent-process.ts"
import { exchange, startApplication, subscribe } from "./kit.ts"
import { mirror, portsIn, textOf, watch } from "./mirroring.ts"
import { makePod } from "./pod.ts"

/* Runs as root of a user namespace: mirrors one connection, and prints what came of it as JSON. */

const pod = await makePod()
const app = startApplication(pod, (text) => (text === "" ? "" : `app: ${text}`))
const agent = await startAgentProcess(pod.pid)
const client = await agent.connect()
const result = await subscribe(client, mirror(app.port))
const way = (["copied", "ports"] as const).filter((set) => portsIn(pod, set).includes(app.port))
const seen = watch(client)
const answer = await exchange(pod, pod.ip4, app.port, "hello")
await seen.until("the end of the copy", () => seen.connections.get(0n)?.closed === true)
const { warnings } = seen
await agent.stop()
const notes = agent
  .output()
  .split("\n")
  .filter((line) => /pass through the agent|warn|error/.test(line))
console.log(JSON.stringify({ result, way, answer, copy: textOf(seen.connections.get(0n)!), warnings, notes }))
app.stop()
pod.close()
process.exit()
