import { expect, test } from "bun:test"
import { noPorts, type SessionFacts } from "../session/live-session.ts"
import { operatorMetrics } from "./operator-metrics.ts"

const session: SessionFacts = {
  number: 10n,
  info: {
    id: "A",
    identity: { user: "ann", groups: [], extra: {} },
    target: { kind: "deployment", name: "web", container: "app" },
    namespace: "shop",
    labels: {},
    client: { user: 'Ann "A"', hostname: "desk" },
    openedAt: new Date(Date.now() - 90_000),
  },
  userId: "key",
  key: undefined,
  headerFilter: undefined,
  ci: false,
  ports: noPorts,
}
const who = 'client_hostname="desk",client_name="Ann \\"A\\"",client_user="ann",user_id="key"'
const where = 'port="80",namespace="shop",target="deployment/web/container/app",user_id="key"'

/* Names and labels are what dashboards made for a mirrord operator ask for. */
test("the series of a mirrord operator, with its labels", () => {
  const metrics = operatorMetrics(
    () => 3,
    () => 2,
  )
  metrics.opened(session)
  metrics.closed(session)
  metrics.opened({ ...session, ci: true })
  metrics.closed({ ...session, ci: true })
  metrics.pinged(session, 3)
  metrics.stolen(session, 80, "connection")
  metrics.stolen(session, 80, "request")
  const lines = metrics.render().split("\n")
  for (const line of [
    `mirrord_sessions_create_total{${who}} 1`,
    `mirrord_sessions_duration_count{${who}} 1`,
    `mirrord_sessions_duration_bucket{${who},le="60"} 0`,
    `mirrord_sessions_duration_bucket{${who},le="300"} 1`,
    `mirrord_ci_sessions_create_total{${who}} 1`,
    `mirrord_ci_sessions_duration_count{${who}} 1`,
    `mirrord_operator_ping_latency_count{${who}} 1`,
    `mirrord_stolen_connections_count{${where}} 1`,
    `mirrord_stolen_requests_count{${where}} 1`,
    "# TYPE mirrord_license_valid_seconds gauge",
    "podside_sessions 3",
    "podside_agents 2",
  ]) {
    expect(lines).toContain(line)
  }
  const valid = lines.find((line) => line.startsWith("mirrord_license_valid_seconds "))
  expect(Number(valid?.split(" ")[1])).toBeGreaterThan(365 * 86_400)
})

test("users cannot make series without end: what is known goes on being counted, the rest is counted together", () => {
  const metrics = operatorMetrics(
    () => 0,
    () => 0,
  )
  const user = (index: number) => ({ ...session, userId: `key-${index}` })
  for (let index = 0; index < 3_000; index++) metrics.opened(user(index))
  for (const index of [0, 1_999, 2_999]) metrics.opened(user(index))
  const series = metrics
    .render()
    .split("\n")
    .filter((line) => line.startsWith("mirrord_sessions_create_total{"))
  expect(series).toHaveLength(2_001)
  const countOf = (label: string) =>
    Number(
      series
        .find((line) => line.includes(label))
        ?.split(" ")
        .at(-1),
    )
  expect([countOf('"key-0"'), countOf('"key-1"'), countOf('"key-1999"'), countOf('other="true"')]).toEqual([
    2, 1, 2, 1_001,
  ])
})
