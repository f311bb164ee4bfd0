import { clientMessage, daemonMessage, type MessageCodec } from "../../../core/protocol/index.ts"
import { fromDescription } from "./describe.ts"

export interface GoldenMessage {
  name: string
  codec: MessageCodec<unknown>
  bytes: Uint8Array
  value: unknown
}

/** All messages of `mirrord-3.250.jsonl.gz`. */
export async function goldenMessages(): Promise<GoldenMessage[]> {
  const packed = await Bun.file(new URL("mirrord-3.250.jsonl.gz", import.meta.url)).bytes()
  const lines = new TextDecoder().decode(Bun.gunzipSync(packed)).trimEnd().split("\n")
  return lines.map((line) => {
    const { name, direction, hex, describe } = JSON.parse(line)
    const codec = (direction === "client" ? clientMessage : daemonMessage) as unknown as MessageCodec<unknown>
    const bytes = Uint8Array.from(Buffer.from(hex, "hex"))
    return { name, codec, bytes, value: fromDescription(codec.codec, describe) }
  })
}
