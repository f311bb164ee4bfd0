import type { LayerTcpOutgoing } from "../../core/protocol/index.ts"
import type { AgentContext, AgentFeature } from "../feature.ts"
import { Budget } from "./budget.ts"
import type { FamilyKind } from "./connect.ts"
import { OutgoingFamily } from "./family.ts"
import { Leftovers } from "./leftovers.ts"

const kinds: readonly FamilyKind[] = ["TcpOutgoing", "UdpOutgoing", "SeqpacketOutgoing"]

/** Connections from the target's place in the network. */
export function createOutgoing({ surroundings, metrics }: AgentContext): AgentFeature {
  const leftovers = new Leftovers()
  return {
    kinds,
    serve(client) {
      const budget = new Budget(client, leftovers)
      const families = new Map(
        kinds.map((kind) => [kind, new OutgoingFamily({ kind, client, budget, surroundings, metrics })]),
      )
      return {
        handle(message) {
          families.get(message.kind as FamilyKind)?.handle((message as { value: LayerTcpOutgoing }).value)
        },
        close() {
          for (const family of families.values()) family.close()
        },
      }
    },
  }
}
