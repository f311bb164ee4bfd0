import { expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startFakeKube } from "../../test/fakes/kube-server.ts"

const program = (root: string, config: string) => `
  import { CoreV1Api, KubeConfig, Watch } from "${root}/node_modules/@kubernetes/client-node"
  const config = new KubeConfig()
  config.loadFromFile(${JSON.stringify(config)})
  const { items } = await config.makeApiClient(CoreV1Api).listNamespacedPod({ namespace: "shop" })
  const seen = []
  await new Promise((done) => new Watch(config).watch("/api/v1/pods", {}, (type) => seen.push(type), done))
  console.log(items.map((pod) => pod.metadata.name), seen)
`

/** Runs the library by itself, with the given preload, and gives what it printed. */
async function run(preload: string | undefined, kubeconfig: string): Promise<string> {
  const root = new URL("../..", import.meta.url).pathname.replace(/\/$/, "")
  // Elsewhere than the project, so that its bunfig does not apply.
  const folder = mkdtempSync(join(tmpdir(), "podside-fix-"))
  try {
    writeFileSync(join(folder, "program.mjs"), program(root, kubeconfig))
    const preloaded = preload ? ["--preload", join(root, preload)] : []
    const child = Bun.spawn([process.execPath, ...preloaded, "program.mjs"], {
      cwd: folder,
      stdout: "pipe",
      stderr: "pipe",
    })
    const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
    return out + error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

test("client-node presents its client certificate and trusts the cluster's CA only with the fix", async () => {
  const kube = startFakeKube({
    routes: {
      "GET /api/v1/namespaces/shop/pods": () => ({ kind: "PodList", items: [{ metadata: { name: "web-0" } }] }),
      "GET /api/v1/pods": () =>
        new Response(`${JSON.stringify({ type: "ADDED", object: { metadata: { name: "web-0" } } })}\n`),
    },
  })
  try {
    expect(await run("core/kube/preload.ts", kube.kubeconfig)).toContain('[ "web-0" ] [ "ADDED" ]')
    expect(await run(undefined, kube.kubeconfig)).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN/)
  } finally {
    await kube.stop()
  }
}, 120_000)
