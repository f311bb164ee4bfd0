import { expect, test } from "bun:test"
import { type ClientMessage, clientMessage, type DaemonMessage } from "../protocol/index.ts"
import { linkPair } from "./memory.ts"
import { MovableLink } from "./movable-link.ts"

const goodbye = "1.29.0+podside-move.0"
const text = (value: string): ClientMessage => ({ kind: "SwitchProtocolVersion", value })
const answer = (value: string): DaemonMessage => ({ kind: "SwitchProtocolVersionResponse", value })
/** Everything here happens in turns of the event loop, a few for each message, however long each takes. */
const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Two ends over one pair, and a second pair for them to move to; what each end hears. */
function ends() {
  const [one, two] = [linkPair(), linkPair()]
  const client = new MovableLink(one.client)
  const agent = new MovableLink(one.agent)
  const heard = { client: [] as string[], agent: [] as string[] }
  client.receive((message) => void heard.client.push(JSON.stringify(message)))
  agent.receive((message) => {
    const { value } = message as { value: string }
    heard.agent.push(value)
    if (value !== goodbye) return
    agent.send(answer(goodbye))
    agent.moved(two.agent)
  })
  two.client.pause()
  two.agent.pause()
  const move = () => {
    client.send(text(goodbye))
    client.move(two.client, (message) => message.kind === "SwitchProtocolVersionResponse")
  }
  return { one, two, client, agent, heard, move }
}

test("what is sent before, while and after a link moves comes once and in order, and its end is the new carrier's", async () => {
  const { one, client, agent, heard, move } = ends()
  for (const value of ["1.0.0", "1.0.1"]) client.send(text(value))
  agent.send({ kind: "Pong" })
  move()
  for (const value of ["1.0.2", "1.0.3"]) client.send(text(value))
  await settle()
  client.send(text("1.0.4"))
  agent.send({ kind: "Close", value: "after" })
  await settle()
  expect(heard.agent).toEqual(["1.0.0", "1.0.1", goodbye, "1.0.2", "1.0.3", "1.0.4"])
  const lengths = heard.agent.map((value) => clientMessage.encode(text(value)).length)
  expect(client.sentBytes).toBe(lengths.reduce((sum, length) => sum + length, 0))
  // The answer that ends the old carrier is nobody's business.
  expect(heard.client).toEqual(['{"kind":"Pong"}', '{"kind":"Close","value":"after"}'])
  expect(await one.client.ended).toEqual({})
  agent.close()
  expect(await client.ended).toEqual({})
})

test("an end that is paused stays so across the move, as often as it was", async () => {
  const { client, agent, heard, move } = ends()
  agent.send({ kind: "Pong" })
  move()
  await settle()
  client.pause()
  client.pause()
  agent.send({ kind: "Close", value: "after" })
  await settle()
  client.resume()
  await settle()
  expect(heard.client).toEqual(['{"kind":"Pong"}'])
  client.resume()
  await settle()
  expect(heard.client).toHaveLength(2)
})

test("a pause while the link moves is taken along", async () => {
  const { client, agent, heard, move } = ends()
  client.pause()
  move()
  await settle()
  agent.send({ kind: "Pong" })
  await settle()
  expect(heard.client).toEqual([])
  client.resume()
  await settle()
  expect(heard.client).toEqual(['{"kind":"Pong"}'])
})

test.each(["one", "two"] as const)("the loss of carrier %s while the link moves is its end", async (which) => {
  const all = ends()
  all.agent.pause()
  all.move()
  all[which].client.abort(new Error("cut"))
  expect((await all.client.ended).error).toBeInstanceOf(Error)
  await all.one.client.ended
  await all.two.client.ended
})

test.each(["one", "two"] as const)("so is the end of carrier %s in good order, which says nothing", async (which) => {
  const all = ends()
  all.agent.pause()
  all.move()
  all[which].agent.close()
  expect(await all.client.ended).toMatchObject({ error: { code: "link-lost" } })
})

test("the end of the old carrier after the move is nobody's end", async () => {
  const { one, client, agent, heard, move } = ends()
  move()
  await settle()
  one.agent.abort(new Error("cut"))
  await settle()
  client.send(text("1.0.0"))
  agent.send({ kind: "Pong" })
  await settle()
  expect(heard.agent.at(-1)).toBe("1.0.0")
  expect(heard.client).toEqual(['{"kind":"Pong"}'])
})

test("a link that ended before it could move takes the new carrier with it", async () => {
  const { two, client, move } = ends()
  client.abort()
  move()
  expect(await two.client.ended).toEqual({})
})

test("a carrier that was given away is alive, and its former link ended and deaf", async () => {
  const { client, agent } = linkPair()
  const former = new MovableLink(agent)
  former.receive(() => expect.unreachable())
  const carrier = former.release()
  expect(await former.ended).toEqual({})
  former.abort()
  client.send(text("1.0.0"))
  const heard = new Promise((resolve) => carrier.receive(resolve))
  await settle()
  carrier.resume()
  expect(await heard).toEqual(text("1.0.0"))
})
