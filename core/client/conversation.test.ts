import { afterEach, expect, test } from "bun:test"
import { until } from "../../test/until.ts"
import { AppError } from "../errors.ts"
import { linkPair } from "../link/index.ts"
import { silentLogger } from "../log.ts"
import type { ClientMessage } from "../protocol/index.ts"
import { agentClosed } from "./agent-faults.ts"
import type { AgentSession } from "./agent-session.ts"
import { Conversation } from "./conversation.ts"

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** A conversation with a hand-made agent; the agent collects what it hears. */
function converse(
  options: { pingEveryMs?: number; deadAfterMs?: number } = {},
  explainLoss?: AgentSession["explainLoss"],
) {
  const { client, agent } = linkPair()
  const heard: ClientMessage[] = []
  const notices: string[] = []
  client.pause()
  const close = async () => client.close()
  const session = { link: client, protocolVersion: "1.29.0", peer: "test agent", close, explainLoss }
  const conversation = new Conversation(session, {
    log: silentLogger,
    notice: (text, level) => notices.push(`${level}: ${text}`),
    ...options,
  })
  agent.receive((message) => heard.push(message))
  ends.push(() => {
    conversation.end()
    client.abort()
    agent.abort()
  })
  return { conversation, agent, heard, notices }
}

test("logs are asked for and shown, an operator's ping is answered", async () => {
  const { conversation, agent, heard, notices } = converse()
  conversation.begin()
  agent.send({ kind: "LogMessage", value: { message: "port is busy", level: { kind: "Warn" } } })
  agent.send({ kind: "OperatorPing", value: 7n })
  await until(() => heard.length >= 2)
  expect(heard).toEqual([{ kind: "ReadyForLogs" }, { kind: "OperatorPong", value: 7n }])
  expect(notices).toEqual(["warn: port is busy"])
})

test("what nobody waits for leaves right behind what is said next, or alone when there is nothing", async () => {
  const { conversation, heard } = converse()
  conversation.begin()
  const end = (connectionId: bigint): ClientMessage => ({
    kind: "TcpOutgoing",
    value: { kind: "Close", value: { connectionId } },
  })
  const question: ClientMessage = { kind: "GetAddrInfoRequest", value: { node: "db" } }
  conversation.sendUnhurried(end(1n))
  conversation.send({ kind: "Ping" })
  conversation.send(question)
  await until(() => heard.length >= 4)
  conversation.sendUnhurried(end(2n))
  await until(() => heard.length >= 5)
  expect(heard).toEqual([{ kind: "ReadyForLogs" }, { kind: "Ping" }, question, end(1n), end(2n)])
})

test("an agent that answers pings stays, one that falls silent is lost", async () => {
  const { conversation, agent, heard } = converse({ pingEveryMs: 20, deadAfterMs: 1_500 })
  let answers = true
  agent.receive((message) => {
    heard.push(message)
    if (message.kind === "Ping" && answers) agent.send({ kind: "Pong" })
  })
  let lost: Error | undefined
  void conversation.lost.then((error) => (lost = error))
  conversation.begin()
  await until(() => heard.filter(({ kind }) => kind === "Ping").length > 40)
  expect(lost).toBeUndefined()
  answers = false
  expect((await conversation.lost).message).toBe("Lost the test agent: it does not answer any more")
}, 120_000)

test("an agent is not silent while nobody listens to it; afterwards it is", async () => {
  const { conversation } = converse({ pingEveryMs: 10, deadAfterMs: 100 })
  let isLost = false
  void conversation.lost.then(() => (isLost = true))
  conversation.begin()
  const [release, releaseOther] = [conversation.hold(), conversation.hold()]
  await Bun.sleep(400)
  release()
  await Bun.sleep(200)
  expect(isLost).toBe(false)
  releaseOther()
  await until(() => isLost)
})

test("the agent's reason for closing is passed on, and features hear of the end once", async () => {
  const { conversation, agent } = converse()
  const endings: string[] = []
  conversation.onEnd((error) => endings.push(error.code))
  conversation.begin()
  agent.send({ kind: "Close", value: "target is gone" })
  const error = await conversation.lost
  conversation.end()
  expect(error).toMatchObject({ code: "agent-closed", message: "The test agent ended the session: target is gone" })
  expect(endings).toEqual(["agent-closed"])
})

test.each([
  ["agent x (shop)", "The target container has ended", "target-ended", "when the target runs"],
  ["agent x (shop)", "Detected dirty iptables.", "agent-dirty-rules", "clean_iptables_on_start"],
  ["agent x (shop)", "The agent was told to stop", "agent-closed", "kubectl get events"],
  ["operator 3.250.0", "it was ended by ann", "agent-closed", "podside operator status"],
])("%s says %j: [%s], and what to do", (peer, reason, code, words) => {
  expect(agentClosed(peer, reason)).toMatchObject({ code, next: expect.stringContaining(words) })
})

test("a connection that was cut is explained, one that fell silent is not, and features hear at once of both", async () => {
  const explanations: string[] = []
  const explain = async (error: AppError) => {
    explanations.push(error.message)
    await Bun.sleep(20)
    return new AppError(error.code, "explained")
  }
  const cut = converse({}, explain)
  let ended = false
  cut.conversation.onEnd(() => (ended = true))
  cut.conversation.begin()
  cut.agent.abort()
  await until(() => explanations.length === 1)
  expect(ended).toBe(true)
  expect(cut.conversation.isLost).toBe(true)
  expect((await cut.conversation.lost).message).toBe("explained")
  const silent = converse({ pingEveryMs: 20, deadAfterMs: 200 }, explain)
  silent.conversation.begin()
  expect((await silent.conversation.lost).message).toContain("does not answer")
  expect(explanations).toHaveLength(1)
})

test("ending it ourselves is no loss", async () => {
  const { conversation } = converse()
  let lost = false
  void conversation.lost.then(() => (lost = true))
  conversation.begin()
  conversation.end()
  await Bun.sleep(0)
  expect(lost).toBe(false)
  expect(conversation.isLost).toBe(false)
})

test("an answer nobody asked for ends the session instead of shifting all that follow", async () => {
  const { conversation, agent } = converse()
  conversation.begin()
  agent.send({ kind: "File", value: { kind: "Unlink", value: { kind: "Ok", value: null } } })
  expect(await conversation.lost).toMatchObject({ code: "agent-unexpected" })
})
