import { afterEach, beforeEach, expect, spyOn, test } from "bun:test"
import { readFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type FakeKube, type Route, startFakeKube, statusAnswer } from "../../../test/fakes/kube-server.ts"
import type { OptionValues, RunCommand } from "../../cli/command.ts"
import { operatorApi } from "../session/operator/find.ts"
import { decimalId, run as stop } from "./operator-session.ts"
import { run as retainActive } from "./operator-session-retain-active.ts"

const certificate = readFileSync(new URL("../../../test/cases/tls/client.crt", import.meta.url), "utf8")
const description = {
  spec: {
    operator_version: "4.0.0",
    default_namespace: "shop",
    supported_features: ["ExtendableUserCredentials"],
    license: { name: "x", organization: "y", expire_at: "2999-12-31", fingerprint: "f" },
  },
}
let home = ""
let homeBefore: string | undefined
let fake: FakeKube | undefined
const printed: string[] = []

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "podside-home-"))
  homeBefore = process.env["HOME"]
  process.env["HOME"] = home
  printed.length = 0
})
afterEach(async () => {
  process.env["HOME"] = homeBefore
  delete process.env["KUBECONFIG"]
  await fake?.stop()
  await rm(home, { recursive: true, force: true })
})

/** Runs the command against an operator with this route; gives back what was deleted. */
async function deleted(run: RunCommand, options: OptionValues, route: string, answer: Route) {
  fake = startFakeKube({
    routes: {
      [`GET ${operatorApi}/mirrordoperators/operator`]: () => description,
      [`POST ${operatorApi}/mirrordclusteroperatorusercredentials`]: () => ({ status: { certificate } }),
      [`DELETE ${operatorApi}/${route}`]: answer,
    },
  })
  process.env["KUBECONFIG"] = fake.kubeconfig
  const write = spyOn(process.stdout, "write").mockImplementation((text) => printed.push(String(text)) > 0)
  try {
    expect(await run({ args: [], options }, {} as never)).toBe(0)
  } finally {
    write.mockRestore()
  }
  return fake.requests.filter(({ method }) => method === "DELETE")
}

const success = (message: string) => () => ({ kind: "Status", status: "Success", message })

test("one session is named in decimal to the operator, with the user's certificate", async () => {
  const requests = await deleted(stop, { id: "4D2" }, "sessions/1234", success("Session 4D2 was ended"))
  expect(requests).toMatchObject([{ body: {}, headers: { "x-client-der": expect.stringMatching(/^[\w+/=]+$/) } }])
  expect(printed).toEqual(["Session 4D2 was ended\n"])
})

test("all sessions are one request without a body", async () => {
  expect(await deleted(stop, { all: true }, "sessions", () => ({ items: [] }))).toMatchObject([{ body: undefined }])
  expect(printed).toEqual(["Stopped all sessions.\n"])
})

test("retain-active ends those nobody is connected to", async () => {
  expect(await deleted(retainActive, {}, "sessions/inactive", success("2 sessions were ended"))).toHaveLength(1)
  expect(printed).toEqual(["2 sessions were ended\n"])
})

test("an operator that says no is an error with its words", async () => {
  const no = () => statusAnswer(403, "Forbidden", "only admins end sessions")
  await expect(deleted(retainActive, {}, "sessions/inactive", no)).rejects.toThrow("only admins end sessions")
  await fake?.stop()
  const failure = () => ({ kind: "Status", status: "Failure", message: "no such session" })
  await expect(deleted(stop, { id: "1" }, "sessions/1", failure)).rejects.toThrow("no such session")
})

test.each([
  ["is not there", () => statusAnswer(404, "NotFound", "There is no session 1234"), "session-not-found"],
  [
    "cannot be ended by this operator",
    () => new Response("404 page not found", { status: 404 }),
    "operator-no-sessions",
  ],
])("a session that %s is told with the id its user gave", async (_, answer, code) => {
  await expect(deleted(stop, { id: "4D2" }, "sessions/1234", answer)).rejects.toMatchObject({
    code,
    message: expect.stringContaining("session 4D2"),
    next: expect.any(String),
  })
})

test.each([
  ["4D2", "1234"],
  ["mc-copy-ff", "255"],
  ["FFFFFFFFFFFFFFFF", "18446744073709551615"],
])("session %s is %s", (hex, decimal) => {
  expect(decimalId(hex)).toBe(decimal)
})

test.each(["", "xyz", "11112222333344445"])('"%s" is no session', (text) => {
  expect(() => decimalId(text)).toThrow("no session id")
})

test("neither and both of --id and --all are refused", async () => {
  for (const options of [{}, { id: "1", all: true as const }]) {
    await expect(stop({ args: [], options }, {} as never)).rejects.toMatchObject({ code: "usage", exitCode: 2 })
  }
})
