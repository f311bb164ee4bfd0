import { expect, test } from "bun:test"
import { KubeError, statusError } from "../../../kube/errors.ts"
import { type AgentPlace, refusedCreation, refusedPod } from "./refused.ts"

const answer = (status: number, message: string) =>
  statusError("create jobs in shop", status, JSON.stringify({ kind: "Status", message }))
const place = (kind: AgentPlace["kind"]): AgentPlace => ({ kind, namespace: "shop" })

const rbac =
  'jobs.batch is forbidden: User "dev" cannot create resource "jobs" in API group "batch" in the namespace "shop"'
const quota = 'jobs.batch "a" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=0'
const security = 'pods "one" is forbidden: violates PodSecurity "baseline:latest": non-default capabilities'

test.each<[status: number, message: string, kind: AgentPlace["kind"], code: string, next: RegExp]>([
  [403, rbac, "targeted", "kube-forbidden", /owner for it, or name another namespace with --agent-namespace/],
  [403, rbac, "targetless", "kube-forbidden", /--target-namespace/],
  [403, rbac, "ephemeral", "kube-forbidden", /leave out --ephemeral-container/],
  [403, quota, "targeted", "agent-refused", /^Set agent\.resources .* --agent-namespace/],
  [403, security, "ephemeral", "agent-pod-security", /leave out --ephemeral-container/],
  [
    400,
    'admission webhook "guard.example" denied the request: no',
    "targeted",
    "agent-refused",
    /^Ask the cluster's owner, or/,
  ],
  [404, 'namespaces "shop" not found', "targeted", "agent-namespace", /--agent-namespace/],
  [404, 'namespaces "shop" not found', "targetless", "agent-namespace", /--target-namespace/],
  [422, "Job.batch is invalid: imagePullPolicy", "targeted", "agent-invalid", /`agent` section/],
])("%d %j (%s) is [%s]", (status, message, kind, code, next) => {
  const error = refusedCreation(answer(status, message), place(kind))
  expect(error).toMatchObject({ code, message: expect.stringContaining(message), next: expect.stringMatching(next) })
})

test("what is no refusal stays as it is", () => {
  for (const error of [answer(500, "etcd is down"), answer(409, "conflict"), new Error("no network")])
    expect(refusedCreation(error, place("targeted"))).toBe(error)
  expect(answer(500, "x")).toBeInstanceOf(KubeError)
})

test.each<[said: string, kind: AgentPlace["kind"], code: string, next: RegExp]>([
  ['violates PodSecurity "restricted:latest"', "targeted", "agent-pod-security", /with --agent-namespace/],
  ['violates PodSecurity "restricted:latest"', "targetless", "agent-pod-security", /with --target-namespace/],
  [
    "maximum memory usage per Container is 50Mi, but limit is 100Mi",
    "targeted",
    "agent-refused",
    /^Set agent\.resources/,
  ],
  ["serviceaccount not found", "targeted", "agent-refused", /^Ask the cluster's owner, or name another/],
])("a pod refused with %j (%s) is [%s]", (said, kind, code, next) => {
  expect(refusedPod(said, place(kind))).toMatchObject({ code, next: expect.stringMatching(next) })
})
