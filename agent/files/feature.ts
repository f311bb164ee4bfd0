import type { AgentContext, AgentFeature } from "../feature.ts"
import { Lane } from "../lane.ts"
import { Descriptors } from "./descriptors.ts"
import { FileRequests } from "./requests.ts"
import { Tree } from "./tree.ts"

/** A request may carry megabytes to write, and they are served at once unless the client does not read its answers. */
const maxWaiting = 1

/** The target's files. Requests of one client are answered strictly in order. */
export function createFiles({ surroundings, metrics }: AgentContext): AgentFeature {
  const tree = new Tree(surroundings.rootFd)
  return {
    kinds: ["FileRequest"],
    serve(client) {
      const descriptors = new Descriptors(metrics)
      const requests = new FileRequests(tree, descriptors)
      const lane = new Lane(client, maxWaiting, (request: Parameters<FileRequests["answer"]>[0]) => {
        const answer = requests.answer(request)
        return answer && client.send({ kind: "File", value: answer })
      })
      return {
        handle: (message) => message.kind === "FileRequest" && lane.push(message.value),
        close: () => descriptors.closeAll(),
      }
    },
  }
}
