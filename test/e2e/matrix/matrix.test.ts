import { useCluster } from "../../cluster/use.ts"
import { matrix } from "./matrix.ts"

const cluster = useCluster("matrix")

await matrix(cluster, {
  title: "a program in a session of its own agent",
  options: () => ["-a", cluster.namespace],
  env: { MIRRORD_OPERATOR_ENABLE: "false" },
  isTidy: async () => (await cluster.get("jobs")).items.length === 0,
})
