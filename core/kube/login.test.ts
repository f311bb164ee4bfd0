import { afterEach, expect, test } from "bun:test"
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { kubeconfigFor, type Route, startFakeKube, statusAnswer } from "../../test/fakes/kube-server.ts"
import { openKube } from "./kube.ts"

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

/** A server that knows the token in `valid`, and a user whose credential plugin prints the one in a file, without an expiry. */
function login() {
  const folder = mkdtempSync(join(tmpdir(), "podside-login-"))
  const inFolder = (name: string) => join(folder, name)
  const state = { valid: "one" }
  const version: Route = ({ headers }) =>
    headers["authorization"] === `Bearer ${state.valid}`
      ? { gitVersion: "v1" }
      : statusAnswer(401, "Unauthorized", "no")
  const fake = startFakeKube({ routes: { "GET /version": version } })
  undo.push(
    () => fake.stop(),
    () => rmSync(folder, { recursive: true }),
  )
  const issue = (token: string) => writeFileSync(inFolder("token"), token)
  issue("one")
  writeFileSync(
    inFolder("plugin"),
    `#!/bin/sh\necho x >> ${inFolder("runs")}\nprintf '{"status":{"token":"%s"}}' "$(cat ${inFolder("token")})"`,
  )
  chmodSync(inFolder("plugin"), 0o755)
  const certificate = kubeconfigFor(fake.url).users[0]!.user
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: inFolder("plugin"), interactiveMode: "Never" }
  const write = (user: object, change: (config: ReturnType<typeof kubeconfigFor>) => void = () => {}) => {
    const config = kubeconfigFor(fake.url, { ...certificate, ...user })
    change(config)
    writeFileSync(inFolder("config"), JSON.stringify(config))
    return inFolder("config")
  }
  const runs = () => readFileSync(inFolder("runs"), "utf8").length / 2
  return { state, issue, exec, write, runs, tokenFile: inFolder("token"), fake }
}

test("a plugin is asked again when the server takes its credentials no more, and only then", async () => {
  const { state, issue, exec, write, runs } = login()
  const kube = openKube({ kubeconfig: write({ exec }) })
  const ask = () => kube.request<object>("GET", "/version")
  await ask()
  await ask()
  expect(runs()).toBe(1)
  issue("two")
  state.valid = "two"
  expect(await Promise.all([ask(), ask()])).toEqual([{ gitVersion: "v1" }, { gitVersion: "v1" }])
  expect(runs()).toBeLessThanOrEqual(3)
  expect(await kube.use(async ({ headers }) => headers["Authorization"])).toBe("Bearer two")
})

test("a plugin whose credentials are never taken is not run for each question", async () => {
  const { state, exec, write, runs } = login()
  state.valid = "another"
  const kube = openKube({ kubeconfig: write({ exec }) })
  for (let count = 0; count < 4; count++)
    await expect(kube.request("GET", "/version")).rejects.toMatchObject({ code: "kube-unauthorized" })
  expect(runs()).toBe(2)
})

test("a token file is read again", async () => {
  const { state, issue, write, tokenFile } = login()
  const kube = openKube({ kubeconfig: write({ tokenFile }) })
  await kube.request("GET", "/version")
  issue("two")
  state.valid = "two"
  expect(await kube.request<object>("GET", "/version")).toEqual({ gitVersion: "v1" })
})

test("what belongs to another context or another server is not taken", async () => {
  const { state, write, fake } = login()
  const kube = openKube({ kubeconfig: write({ token: "one" }) })
  await kube.request("GET", "/version")
  state.valid = "two"
  write({ token: "one" }, (config) => {
    config.users.push({ name: "bob", user: { token: "two" } })
    config.contexts.push({ name: "other", context: { cluster: "fake", user: "bob", namespace: "shop" } })
    config["current-context"] = "other"
  })
  const asked = fake.requests.length
  await expect(kube.request("GET", "/version")).rejects.toMatchObject({ code: "kube-unauthorized" })
  expect(fake.requests.slice(asked).map(({ headers }) => headers["authorization"])).not.toContain("Bearer two")
})

test("a kubeconfig that leads to another server meanwhile is not followed", async () => {
  const { state, write, fake } = login()
  const kube = openKube({ kubeconfig: write({ token: "one" }) })
  state.valid = "two"
  write({ token: "two" }, ({ clusters: [first] }) => {
    first!.cluster.server = "https://127.0.0.1:1"
  })
  await expect(kube.request("GET", "/version")).rejects.toMatchObject({ code: "kube-unauthorized" })
  expect(fake.requests).toHaveLength(1)
})
