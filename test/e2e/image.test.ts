import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { version } from "../../package.json"

/* The image as a container runtime sees it, unpacked and entered without one. */

const root = join(import.meta.dir, "../..")
const canEnter = process.platform === "linux" && process.getuid?.() === 0
if (!canEnter) console.warn("SKIPPED: entering the image needs root on Linux (chroot and a mount namespace)")
const hasIptables = existsSync("/usr/sbin/xtables-nft-multi")
if (!hasIptables) console.warn("SKIPPED: iptables of the image, which takes them from this machine, where they are not")

let folder: string
let files: string
let digests: string[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "podside-image-"))
  files = join(folder, "root")
  digests = []
  for (const name of ["first.tar", "second.tar"]) {
    const build = run([process.execPath, "build.ts", "--image", "--outfile", join(folder, name)], root)
    expect(build.stderr).toBe("")
    digests.push(/sha256:[0-9a-f]{64}/.exec(build.stdout)?.[0] as string)
  }
  await mkdir(join(folder, "layout"))
  await mkdir(files)
  expect(run(["tar", "-xf", join(folder, "first.tar"), "-C", join(folder, "layout")]).stderr).toBe("")
  const [{ Layers }] = await json("manifest.json")
  expect(run(["tar", "-xf", join(folder, "layout", Layers[0]), "-C", files]).stderr).toBe("")
}, 180_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

function run(command: string[], cwd = "/") {
  const { stdout, stderr, exitCode } = Bun.spawnSync(command, { cwd, env: { PATH: process.env["PATH"] } })
  return { stdout: stdout.toString(), stderr: stderr.toString(), exitCode }
}

function json(path: string) {
  return Bun.file(join(folder, "layout", path)).json()
}

test("two builds give one digest and the same bytes", async () => {
  expect(digests[0]).toBe(digests[1] as string)
  expect(run(["cmp", join(folder, "first.tar"), join(folder, "second.tar")]).exitCode).toBe(0)
})

test("it is at most 130 MB", () => {
  expect(Bun.file(join(folder, "first.tar")).size).toBeLessThanOrEqual(130_000_000)
})

test("every blob is what its name says, and both indexes lead to the same ones", async () => {
  const { manifests } = await json("index.json")
  expect(manifests[0].digest).toBe(digests[0])
  expect(manifests[0].annotations["io.containerd.image.name"]).toBe("docker.io/library/podside:dev")
  const manifest = await json(blobPath(manifests[0].digest))
  const [docker] = await json("manifest.json")
  expect(docker).toEqual({
    Config: blobPath(manifest.config.digest),
    RepoTags: ["podside:dev"],
    Layers: [blobPath(manifest.layers[0].digest)],
  })
  for (const { digest, size } of [manifests[0], manifest.config, ...manifest.layers]) {
    const blob = Bun.file(join(folder, "layout", blobPath(digest)))
    expect(blob.size).toBe(size)
    expect(`sha256:${new Bun.CryptoHasher("sha256").update(await blob.arrayBuffer()).digest("hex")}`).toBe(digest)
  }
  const config = await json(blobPath(manifest.config.digest))
  expect(config.rootfs.diff_ids).toEqual([manifest.layers[0].digest])
  expect(config.config).toMatchObject({ Entrypoint: ["/podside"], WorkingDir: "/" })
  expect(config.config.Labels["podside.glibc"]).toMatch(/^2\.\d+$/)
})

if (!Bun.which("skopeo")) console.warn("SKIPPED: another program that reads the image: skopeo is not here")
test.skipIf(!Bun.which("skopeo"))("another program reads both forms of it, blob by blob", async () => {
  const policy = join(folder, "policy.json")
  await Bun.write(policy, JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] }))
  for (const form of ["docker-archive", "oci-archive"]) {
    const copy = [
      "skopeo",
      "--policy",
      policy,
      "copy",
      `${form}:${join(folder, "first.tar")}`,
      `dir:${join(folder, form)}`,
    ]
    expect(run(copy)).toMatchObject({ stderr: "", exitCode: 0 })
    const { layers } = await Bun.file(join(folder, form, "manifest.json")).json()
    expect(layers).toHaveLength(1)
  }
})

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`
}

test("nothing in it can be executed but the binary and what it loads", () => {
  const found = run(["find", files, "-type", "f", "-perm", "/111", "-printf", "%P\n"]).stdout.trim().split("\n").sort()
  expect(found.filter((path) => !/(^|\/)ld-linux-[\w.-]+$/.test(path) && !isFromPlugin(path))).toEqual(["podside"])
  expect(run(["readlink", join(files, "mirrord-agent")]).stdout).toBe("podside\n")
})

/** Programs a plugin named in its `image.ts` are none of this test's business. */
function isFromPlugin(path: string): boolean {
  return /^usr\/(local\/)?s?bin\//.test(path)
}

describe.skipIf(!canEnter)("entered", () => {
  /** Runs a command in the unpacked image, with its own /proc, read-only and as the user given. */
  const inside = (command: string[], user = "0") =>
    run([
      "unshare",
      ...["--mount", "--net", "--pid", "--fork", `--mount-proc=${join(files, "proc")}`, "--kill-child"],
      ...["chroot", `--userspec=${user}:${user}`, files],
      ...command,
    ])

  test("it runs", () => {
    expect(inside(["/podside", "--version"])).toEqual({ stdout: `podside ${version}\n`, stderr: "", exitCode: 0 })
  })
  test("it runs as a user without a name", () => {
    expect(inside(["/podside", "--version"], "65532").stdout).toBe(`podside ${version}\n`)
  })
  test("./mirrord-agent is the agent, with its exit code for bad arguments", () => {
    const { stderr, exitCode } = inside(["./mirrord-agent", "--no-such-flag"])
    expect(stderr).toContain("mirrord-agent")
    expect(exitCode).toBe(2)
  })
  test.skipIf(!hasIptables)("iptables of both kinds works, with its matches", () => {
    for (const kind of ["nft", "legacy"]) {
      const rule = [
        "-A",
        "OUTPUT",
        "-p",
        "tcp",
        "-m",
        "addrtype",
        "--dst-type",
        "LOCAL",
        "-j",
        "REDIRECT",
        "--to-ports",
        "9",
      ]
      const made = inside([`/usr/sbin/iptables-${kind}`, "-t", "nat", ...rule])
      expect(made).toEqual({ stdout: "", stderr: "", exitCode: 0 })
    }
  })
  test("there is no shell", () => {
    expect(inside(["/bin/sh", "-c", "true"]).exitCode).not.toBe(0)
  })
})
