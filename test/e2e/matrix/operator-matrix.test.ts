import { useCluster } from "../../cluster/use.ts"
import { useOperator } from "../operator/install.ts"
import { matrix } from "./matrix.ts"

const cluster = useCluster("operator-matrix")
const installed = useOperator(cluster, { agent: { idleSeconds: 10 } })

await matrix(cluster, {
  title: "a program in a session of the operator",
  programs: ["curl", "bash", "python", "node", "go-static"],
  options: () => [],
  env: { MIRRORD_OPERATOR_ENABLE: "true" },
  isTidy: async () => {
    const pods = await cluster.get("pods", "-n", installed.namespace, "-l", "app=mirrord")
    return pods.items.length === 0
  },
})
