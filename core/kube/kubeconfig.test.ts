import { afterEach, expect, test } from "bun:test"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { kubeconfigFor, startFakeKube } from "../../test/fakes/kube-server.ts"
import { certificatesOfOtherTimes } from "../../test/fakes/localhost-certificate.ts"
import { resolveAccess } from "./access.ts"
import { openKube } from "./kube.ts"
import { loadKubeConfig } from "./kubeconfig.ts"

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A folder with the given kubeconfig as "config". */
function write(config: object | string): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), "podside-kubeconfig-"))
  folders.push(folder)
  const path = join(folder, "config")
  writeFileSync(path, typeof config === "string" ? config : JSON.stringify(config))
  return { folder, path }
}

const accessWith = (user: object) =>
  resolveAccess(loadKubeConfig({ kubeconfig: write(kubeconfigFor("https://a:1", user)).path }))

test("a client certificate, a token, a token file and a name with password are each presented", async () => {
  expect(
    (await resolveAccess(loadKubeConfig({ kubeconfig: write(kubeconfigFor("https://a:1")).path }))).tls?.cert,
  ).toContain("BEGIN CERTIFICATE")
  expect((await accessWith({ token: "t1" })).headers["Authorization"]).toBe("Bearer t1")
  const { folder, path } = write(kubeconfigFor("https://a:1", { tokenFile: "token" }))
  writeFileSync(join(folder, "token"), "t2\n")
  expect((await resolveAccess(loadKubeConfig({ kubeconfig: path }))).headers["Authorization"]).toBe("Bearer t2")
  expect((await accessWith({ username: "ann", password: "p" })).headers["Authorization"]).toBe(`Basic ${btoa("ann:p")}`)
})

test("a credential plugin is run, from beside the kubeconfig, and told what form is wanted", async () => {
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "./plugin", args: ["x"] }
  const { folder, path } = write(kubeconfigFor("https://a:1", { exec }))
  const plugin = join(folder, "plugin")
  writeFileSync(
    plugin,
    `#!/bin/sh\necho "{\\"status\\":{\\"token\\":\\"$1-$(echo "$KUBERNETES_EXEC_INFO" | grep -c ExecCredential)\\"}}"`,
  )
  chmodSync(plugin, 0o755)
  expect((await resolveAccess(loadKubeConfig({ kubeconfig: path }))).headers["Authorization"]).toBe("Bearer x-1")
  writeFileSync(plugin, "#!/bin/sh\necho not today >&2\nexit 3")
  await expect(resolveAccess(loadKubeConfig({ kubeconfig: path }))).rejects.toMatchObject({
    code: "kube-auth-command",
    message: expect.stringContaining("not today"),
  })
  writeFileSync(plugin, "#!/bin/sh\nexit 3")
  await expect(resolveAccess(loadKubeConfig({ kubeconfig: path }))).rejects.toThrow("failed: it said nothing")
  await expect(accessWith({ exec: { ...exec, command: "podside-no-such-command" } })).rejects.toMatchObject({
    code: "kube-auth-command",
    next: expect.stringContaining("PATH"),
  })
  const installHint = "Install it with: brew install it\n"
  await expect(
    accessWith({ exec: { ...exec, command: "podside-no-such-command", installHint } }),
  ).rejects.toMatchObject({ next: installHint.trim() })
})

test.each([
  ["is over", "past"],
  ["has not begun", "future"],
] as const)("a server's certificate whose time %s is told apart from a wrong one", async (_, time) => {
  const { key, [time]: cert } = certificatesOfOtherTimes
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", tls: { cert, key }, fetch: () => new Response("{}") })
  try {
    const config = kubeconfigFor(`https://127.0.0.1:${server.port}`, { token: "t" }) as {
      clusters: { cluster: Record<string, unknown> }[]
    }
    config.clusters[0]!.cluster["certificate-authority-data"] = btoa(cert)
    const asking = openKube({ kubeconfig: write(config).path }).request("GET", "/version", { what: "get the version" })
    await expect(asking).rejects.toMatchObject({
      code: "kube-certificate-time",
      next: expect.stringContaining(new Date().toISOString().slice(0, 10)),
    })
  } finally {
    await server.stop(true)
  }
})

test("several files are one: the first to name something wins", () => {
  const first = write({ ...kubeconfigFor("https://first:1"), "current-context": "" })
  const second = write({
    ...kubeconfigFor("https://second:1"),
    contexts: [{ name: "other", context: { cluster: "fake", user: "alice" } }],
    "current-context": "other",
  })
  const { config } = loadKubeConfig({ kubeconfig: `${first.path}:${second.path}:/not/there` })
  expect([config.getCurrentContext(), config.getCurrentCluster()?.server]).toEqual(["other", "https://first:1"])
  expect(
    loadKubeConfig({ kubeconfig: `${first.path}:${second.path}`, context: "fake" }).config.getCurrentContext(),
  ).toBe("fake")
})

test("paths are relative to the file they stand in", async () => {
  const [first, second] = [write({ ...kubeconfigFor("https://a:1"), users: [] }), write("")]
  const load = (user: object) => {
    writeFileSync(second.path, JSON.stringify(kubeconfigFor("https://b:1", user)))
    return resolveAccess(loadKubeConfig({ kubeconfig: `${first.path}:${second.path}` }))
  }
  writeFileSync(join(second.folder, "token"), "t\n")
  writeFileSync(join(second.folder, "plugin"), `#!/bin/sh\necho '{"status":{"token":"p"}}'`, { mode: 0o755 })
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "./plugin" }
  expect((await load({ tokenFile: "token" })).headers["Authorization"]).toBe("Bearer t")
  expect((await load({ exec })).headers["Authorization"]).toBe("Bearer p")
  await expect((async () => load({ tokenFile: "nobody" }))()).rejects.toMatchObject({ code: "kube-config" })
})

test("a path may name variables and the home folder", () => {
  const { folder } = write(kubeconfigFor("https://a:1"))
  process.env["PODSIDE_TEST_PLACE"] = folder
  const server = (kubeconfig: string) => loadKubeConfig({ kubeconfig }).config.getCurrentCluster()?.server
  try {
    for (const name of ["PODSIDE_TEST_PLACE", "{PODSIDE_TEST_PLACE}"])
      expect(server(`$${name}/config`)).toBe("https://a:1")
    for (const path of ["$PODSIDE_TEST_NOTHING/podside-no-such-folder", "~/podside-no-such-folder"])
      expect(() => server(path)).toThrow(path.replace(/^\$\w+/, "").replace("~", homedir()))
  } finally {
    delete process.env["PODSIDE_TEST_PLACE"]
  }
})

test.each<[inFile: boolean | undefined, option: boolean | undefined, verified: boolean]>([
  [undefined, undefined, true],
  [true, undefined, false],
  [undefined, true, false],
  [true, false, true],
])(
  "insecure-skip-tls-verify %p with the option %p: the certificate is verified: %p",
  async (inFile, option, verified) => {
    const config = kubeconfigFor("https://a:1")
    if (inFile !== undefined) Object.assign(config.clusters[0]!.cluster, { "insecure-skip-tls-verify": inFile })
    const { path } = write(config)
    const access = await resolveAccess(loadKubeConfig({ kubeconfig: path, acceptInvalidCertificates: option }))
    expect(access.tls?.rejectUnauthorized).toBe(verified)
  },
)

test.each<[what: string, config: object | string, options: object, words: string]>([
  ["more than 4 MiB", " ".repeat((4 << 20) + 1), {}, "larger than"],
  ["YAML that is none", "a: [", {}, "cannot be used"],
  ["a binary file", "\0\x01\x02\xff", {}, "cannot be used"],
  ["a list", "[]", {}, "cannot be used"],
  ["a credential command that is no text", "users: [{name: u, user: {exec: {command: false}}}]", {}, "is no text"],
  ["no current context", { ...kubeconfigFor("https://a:1"), "current-context": "" }, {}, "no current context"],
  ["a context that is not there", kubeconfigFor("https://a:1"), { context: "nope" }, 'no context "nope"'],
  ["a cluster that is not there", { ...kubeconfigFor("https://a:1"), clusters: [] }, {}, 'the cluster "fake"'],
  ["a user that is not there", { ...kubeconfigFor("https://a:1"), users: [] }, {}, 'the user "alice"'],
])("%s is said with the file's name", (_, config, options, words) => {
  const { path } = write(config)
  const load = () => loadKubeConfig({ kubeconfig: path, ...options })
  expect(load).toThrow(words)
  expect(load).toThrow(path)
})

test("impersonation of the kubeconfig is sent, every group in a header of its own", async () => {
  const fake = startFakeKube({ routes: { "GET /version": () => ({ gitVersion: "v1" }) } })
  try {
    const config = kubeconfigFor(fake.url)
    const extra = { "as-uid": "7", "as-user-extra": { "example.com/team": ["a"] } }
    Object.assign(config.users[0]!.user, { as: "bob", "as-groups": ["devs"], ...extra })
    await openKube({ kubeconfig: write(config).path }).request("GET", "/version")
    expect(fake.requests[0]?.headers).toMatchObject({
      "impersonate-user": "bob",
      "impersonate-group": "devs",
      "impersonate-uid": "7",
      "impersonate-extra-example.com%2fteam": "a",
    })
  } finally {
    await fake.stop()
  }
})

test.each([
  ["several groups", { "as-groups": ["devs", "ops"] }],
  ["several values of one key", { "as-user-extra": { team: ["a", "b"] } }],
])("impersonation with %s cannot be sent, so nothing is asked", async (_, more) => {
  const user = { token: "t", as: "bob", ...more }
  await expect(accessWith(user)).rejects.toMatchObject({ code: "kube-config" })
})

test("the service account of a pod is taken where there is no kubeconfig, and what is missing is told", () => {
  const load = () => loadKubeConfig({ inCluster: true })
  expect(load).toThrow(expect.objectContaining({ code: "kube-config", next: expect.stringContaining("KUBECONFIG") }))
})
