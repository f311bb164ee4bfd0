import * as v from "valibot"
import { checked, isRecord, picking, text, textMap } from "./values.ts"

const queueTypes = ["SQS", "Kafka", "RMQ", "GCPPubSub", "RedisPubSub", "AzureServiceBus", "Temporal", "BullMQ"] as const

const entryFields = {
  queue_type: v.picklist(queueTypes),
  queue_mode: v.optional(v.picklist(["steal", "mirror"]), "steal"),
  message_filter: v.optional(textMap),
  jq_filter: v.optional(text),
  payload_protobuf: v.optional(
    v.strictObject({
      message_type: text,
      schema_file: v.optional(text),
      include_directories: v.optional(v.array(text), []),
      descriptor_base64: v.optional(text),
    }),
  ),
}

type Entry = v.InferOutput<v.StrictObjectSchema<typeof entryFields, undefined>>

function wrong(entry: Entry): string | undefined {
  const { queue_type, message_filter, jq_filter, payload_protobuf } = entry
  if (queue_type === "RMQ" && message_filter === undefined) return 'a queue of type RMQ needs "message_filter"'
  if (queue_type === "RMQ" && jq_filter !== undefined) return 'a queue of type RMQ has no "jq_filter"'
  if (payload_protobuf === undefined) return undefined
  if (queue_type !== "Kafka") return '"payload_protobuf" is for queues of type Kafka'
  if (jq_filter === undefined) return '"payload_protobuf" needs "jq_filter"'
  const { schema_file, descriptor_base64 } = payload_protobuf
  return schema_file || descriptor_base64 ? undefined : '"payload_protobuf" needs "schema_file" or "descriptor_base64"'
}

const byId = v.pipe(
  v.record(v.string(), v.pipe(v.strictObject(entryFields), checked(wrong))),
  v.transform((entries) => Object.entries(entries).map(([queue_id, entry]) => ({ queue_id, ...entry }))),
)
const inOrder = v.array(
  v.pipe(
    v.strictObject({ queue_id: text, ...entryFields }),
    checked((entry) => wrong(entry)),
  ),
)

/** A map by queue id, or a list in which ids may repeat; a list afterwards. */
export const splitQueues = picking([byId, inOrder], (value) => (isRecord(value) ? byId : inOrder))
