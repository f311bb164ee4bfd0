import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseAllDocuments, stringify } from "yaml"
import { chartFiles } from "../../config/manifests/chart-files.ts"
import type { KubeObject } from "../../config/manifests/kube-object.ts"
import { manifests } from "../../config/manifests/objects.ts"
import { readValues } from "../../config/manifests/values.ts"
import { must } from "../cluster/run.ts"
import { useCluster } from "../cluster/use.ts"

const root = join(import.meta.dir, "../..")
const chart = join(root, "config/chart")
const cluster = useCluster("chart")
const folder = mkdtempSync(join(tmpdir(), "podside-chart-"))
afterAll(() => rmSync(folder, { recursive: true }))

const choices: Record<string, Record<string, unknown>> = {
  defaults: {},
  "everything chosen": {
    namespace: "tools",
    createNamespace: false,
    crds: false,
    roleNamespaces: ["team-a", "team-b"],
    role: { "mirrord-operator-user": { labels: { team: "a" } } },
    clusterRole: { "mirrord-operator-user": { labels: { "rbac.example/aggregate": "true" } } },
    operator: {
      image: "registry.example:5000/podside",
      imageTag: "dev",
      imagePullPolicy: "Never",
      imagePullSecrets: [{ name: "pull" }],
      replicas: 3,
      podAnnotations: { a: "1" },
      podLabels: { b: "2" },
      labels: { c: "3" },
      clusterName: "east & west",
      jsonLog: false,
      extraEnv: { PLAIN: "text", SECRET: { valueFrom: { secretKeyRef: { name: "s", key: "k" } } } },
      extraVolumes: [{ name: "own-plugins", configMap: { name: "own-plugins" } }],
      extraVolumeMounts: [{ name: "own-plugins", mountPath: "/plugins", readOnly: true }],
      metrics: true,
      maxSessionTimeSeconds: 2_592_000,
      noPodTargetsSessionTimeoutMillis: 3_600_000,
      tolerations: [{ operator: "Exists" }],
      affinity: { podAntiAffinity: {} },
      nodeSelector: { disk: "ssd" },
      port: 9443,
    },
    agent: {
      image: "other:1",
      tls: false,
      port: 7777,
      idleSeconds: 5,
      hostPaths: true,
      ephemeral: true,
      priorityClass: { create: true, name: "agents", value: -5, globalDefault: true, preemptionPolicy: "Never" },
      extraEnv: { PODSIDE_AGENT_KEEP_NAMES: "false", A: "<&>" },
      extraConfig: { log_level: "debug", dns: { timeout: 5, attempts: 2 }, annotations: { note: "<&>" } },
    },
    impersonation: { mode: "review" },
    plugins: { "z-rules": { b: 1, a: ["<x>", "&"] }, "a-rules": {} },
    service: { name: "front" },
    sa: { create: false, name: "given", annotations: { d: "4" } },
    openshift: true,
    extraObjects: [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "extra" }, data: { e: "5" } }],
  },
  "a certificate of one's own": { tls: { useExistingSecret: true, apiService: { caBundle: "Y2E=" } } },
  "a certificate among the values": {
    tls: { secret: "given", data: { "tls.crt": "-----BEGIN…\nä", "tls.key": "k" }, apiService: { caBundle: "Y2E=" } },
  },
  "OpenShift, with agents of an account and a class of their own": {
    openshift: true,
    agent: { extraConfig: { service_account: "agents", privileged: true, priority_class: "theirs" } },
    operator: { imagePullSecrets: [{ name: "pull" }] },
  },
  "agents that pull by a secret of their own": {
    operator: { imagePullSecrets: [{ name: "pull" }] },
    agent: { extraConfig: { image_pull_secrets: [] } },
  },
  "cert-manager": { tls: { certManager: { enabled: true } } },
  "cert-manager with an issuer that exists": {
    tls: {
      certManager: { enabled: true, createIssuer: false, issuer: "corporate", issuerKind: "ClusterIssuer" },
    },
  },
  "cert-manager with an issuer of another group, whose CA is not told": {
    tls: {
      secret: "from-aws",
      apiService: { caBundle: "Y2E=" },
      certManager: {
        enabled: true,
        createIssuer: false,
        issuer: "private-ca",
        issuerKind: "AWSPCAClusterIssuer",
        issuerGroup: "awspca.cert-manager.io",
      },
    },
  },
  "cert-manager without verification": {
    tls: { apiService: { insecureSkipTLSVerify: true }, certManager: { enabled: true } },
  },
  "no verification": { tls: { apiService: { insecureSkipTLSVerify: true } } },
}

const byPlace = (objects: KubeObject[]) =>
  Object.fromEntries(
    objects.map((object) => [
      `${object.kind} ${object.metadata["namespace"] ?? ""}/${object.metadata["name"]}`,
      object,
    ]),
  )

describe.skipIf(!cluster.available)("the chart", () => {
  const withValues = async (values: Record<string, unknown>) => {
    const file = join(folder, `${crypto.randomUUID()}.yaml`)
    await Bun.write(file, stringify(values))
    return ["--kube-version", "1.34.0", "--values", file]
  }
  const render = async (values: Record<string, unknown>) =>
    cluster.helm("template", "podside", chart, ...(await withValues(values)))

  test.each(Object.entries(choices))(
    "installs exactly what `operator setup` prints: %s",
    async (_name, given) => {
      const rendered = parseAllDocuments(await render(given))
        .map((document) => document.toJS() as KubeObject | null)
        .filter((object) => object !== null)
      expect(byPlace(rendered)).toEqual(byPlace(JSON.parse(JSON.stringify(manifests(readValues(given))))))
    },
    120_000,
  )

  test.each(Object.entries(choices))(
    "passes helm lint: %s",
    async (_name, given) => {
      expect(await cluster.helm("lint", "--strict", chart, ...(await withValues(given)))).toContain("0 chart(s) failed")
    },
    120_000,
  )

  test.each([
    ["a value that does not exist", { oprator: {} }],
    ["a misspelled key", { operator: { replica: 2 } }],
    ["a wrong type", { operator: { replicas: "two" } }],
    ["a number the operator would not start with", { agent: { idleSeconds: 0 } }],
    ["a setting of agents that does not exist", { agent: { extraConfig: { log_levle: "debug" } } }],
    ["a mode that does not exist", { impersonation: { mode: "trust" } }],
  ])("refuses %s, as `operator setup` does", async (_what, given) => {
    await expect(render(given)).rejects.toThrow(/values don't meet the specifications/)
    expect(() => readValues(given)).toThrow(/^unknown key|" must be /)
  })

  test.each([
    ["two sources of one Secret", { tls: { useExistingSecret: true, certManager: { enabled: true } } }],
    ["a certificate of two sources", { tls: { useExistingSecret: true, data: { "tls.crt": "c", "tls.key": "k" } } }],
    [
      "a certificate of two other sources",
      { tls: { certManager: { enabled: true }, data: { "tls.crt": "c", "tls.key": "k" } } },
    ],
    ["a certificate without its key", { tls: { data: { "tls.crt": "c" } } }],
    ["a key without its certificate", { tls: { data: { "tls.key": "k" } } }],
    ["two classes of agents", { agent: { priorityClass: { create: true }, extraConfig: { priority_class: "mine" } } }],
    ["a kind of an issuer that it makes", { tls: { certManager: { enabled: true, issuerKind: "ClusterIssuer" } } }],
    ["a group of an issuer that it makes", { tls: { certManager: { enabled: true, issuerGroup: "other.io" } } }],
    ["a CA that nobody verifies by", { tls: { apiService: { insecureSkipTLSVerify: true, caBundle: "Y2E=" } } }],
  ])("refuses %s, in the words of `operator setup`", async (_what, given) => {
    const refusal = await Promise.resolve(given)
      .then(readValues)
      .then(String, (error: Error) => error.message)
    expect(refusal).toMatch(/exclude|needs both|set createIssuer to false/)
    await expect(render(given)).rejects.toThrow(refusal)
  })

  test("makes no namespace where its release lives: helm has found or made that one already", async () => {
    const { namespace } = cluster
    const flags = await withValues({ namespace })
    // What is there already may be another test's operator.
    const dry = ["--dry-run=server", "--take-ownership"]
    const said = await cluster.helm("install", "podside", chart, "-n", namespace, ...dry, ...flags.slice(2))
    expect(said).not.toContain("kind: Namespace")
    expect(said).toContain("--clusterrole=mirrord-operator-user")
  }, 120_000)

  test("is accepted by the API server", async () => {
    const values = readValues({
      namespace: cluster.namespace,
      createNamespace: false,
      agent: { priorityClass: { create: true, name: `agents-${cluster.namespace}` } },
      tls: { data: { "tls.crt": "a certificate", "tls.key": "its key" } },
    })
    const file = join(folder, "setup.json")
    await Bun.write(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests(values) }))
    const said = await must(["kubectl", "apply", "--dry-run=server", "-f", file], {
      env: { KUBECONFIG: cluster.kubeconfig },
    })
    for (const kind of [
      "deployment.apps",
      "apiservice",
      "clusterrole",
      "service/",
      "configmap",
      "priorityclass",
      "secret",
    ])
      expect(said).toContain(kind)
  }, 120_000)
})

test("the files made from code are up to date; `bun config/manifests/write-chart.ts` makes them", () => {
  for (const [path, text] of Object.entries(chartFiles())) expect(readFileSync(join(chart, path), "utf8")).toBe(text)
})
