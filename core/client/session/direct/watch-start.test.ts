import { afterEach, expect, test } from "bun:test"
import { type Route, startFakeKube, statusAnswer } from "../../../../test/fakes/kube-server.ts"
import { until } from "../../../../test/until.ts"
import { openKube } from "../../../kube/kube.ts"
import type { Pod } from "../../../kube/objects.ts"
import type { Step } from "../../progress.ts"
import { explained } from "./last-log-lines.ts"
import { type StartWatch, watchStart } from "./watch-start.ts"

const pods = "GET /api/v1/namespaces/shop/pods"
const events = "GET /api/v1/namespaces/shop/events"
const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

/** A watch that tells these objects and then stays open. */
const tells =
  (...objects: object[]): Route =>
  () =>
    new Response(
      new ReadableStream({
        start(controller) {
          for (const object of objects)
            controller.enqueue(Buffer.from(`${JSON.stringify({ type: "ADDED", object })}\n`))
        },
      }),
    )
const forbidden = () => statusAnswer(403, "Forbidden", "no")
const podWith = (status: object): Pod => ({ metadata: { name: "agent-0-x" }, spec: { containers: [] }, status })

function watching(routes: Record<string, Route>): {
  watch: StartWatch
  said: string[]
  kube: ReturnType<typeof openKube>
} {
  const fake = startFakeKube({ routes })
  const said: string[] = []
  const step = { warn: (text: string) => said.push(text), info() {} } as unknown as Step
  const kube = openKube({ kubeconfig: fake.kubeconfig })
  const place = { kind: "targeted", namespace: "shop" } as const
  const watch = watchStart({ kube, namespace: "shop", name: "agent-0", image: "agent:1", place, step, sayEveryMs: 30 })
  watch.started.catch(() => {})
  undo.push(
    () => fake.stop(),
    () => watch.stop(),
  )
  return { watch, said, kube }
}

const waiting = (reason: string) => ({
  phase: "Pending",
  containerStatuses: [{ name: "mirrord-agent", state: { waiting: { reason } } }],
})

test.each<[situation: string, routes: Record<string, Route>, words: string]>([
  ["no pod is made", { [pods]: tells(), [events]: tells() }, "Kubernetes has made no pod for it yet"],
  ["nor is it told why", { [pods]: tells(), [events]: forbidden }, "you may not read the events in shop that tell why"],
  [
    "the pod is not on a node yet",
    { [pods]: tells(podWith({ phase: "Pending" })), [events]: tells() },
    "its pod is Pending",
  ],
  [
    "its container is not made yet",
    { [pods]: tells(podWith(waiting("ContainerCreating"))), [events]: tells() },
    "its container waits: ContainerCreating",
  ],
])("while %s, that is said again and again", async (_, routes, words) => {
  const { watch, said } = watching(routes)
  await until(() => said.filter((text) => text.startsWith("Still waiting: ") && text.includes(words)).length > 1)
  expect(watch.waitingFor()).toContain(words)
  watch.stop()
  const { length } = said
  await Bun.sleep(100)
  expect(said).toHaveLength(length)
})

const ended = podWith({
  phase: "Failed",
  containerStatuses: [{ name: "mirrord-agent", state: { terminated: { reason: "Error", exitCode: 2 } } }],
})
const agent = { namespace: "shop", name: "agent-0", remove: async () => {} }

test.each([
  ["OOMKilled", "limits.memory"],
  ["StartError", "agent.image"],
])("an agent that ended by %s is reported without its log", async (reason, next) => {
  const pod = podWith({
    phase: "Failed",
    containerStatuses: [{ name: "a", state: { terminated: { reason, exitCode: 1 } } }],
  })
  const { watch, kube } = watching({ [pods]: tells(pod), [events]: tells() })
  const error = await watch.failed.catch((thrown) => thrown)
  expect(await explained(error, kube, agent, watch.pod)).toMatchObject({
    message: `The agent ended before it was ready: ${reason}, exit code 1`,
    next: expect.stringContaining(next),
  })
})

test.each<[situation: string, log: Route | undefined, message: string, next: string]>([
  [
    "with what it said last",
    () => new Response("one\n\nunknown option --port\n"),
    "Error, exit code 2; it said: one | unknown option --port",
    "agent.image",
  ],
  [
    "with the permission that is missing for that",
    forbidden,
    "ended before it was ready: Error, exit code 2",
    "get pods/log in shop",
  ],
  ["also when there is no log", undefined, "ended before it was ready: Error, exit code 2", "Start again"],
])("an agent that ends too early is reported %s", async (_, log, message, next) => {
  const routes = { [pods]: tells(ended), [events]: tells(), ...(log && { [`${pods}/agent-0-x/log`]: log }) }
  const { watch, kube } = watching(routes)
  const error = await watch.failed.catch((thrown) => thrown)
  expect(await explained(error, kube, agent, watch.pod)).toMatchObject({
    code: "agent-failed",
    message: expect.stringContaining(message),
    next: expect.stringContaining(next),
  })
})
