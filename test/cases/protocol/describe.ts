import { ip, sockaddr } from "../../../core/protocol/addresses.ts"
import type { AnyCodec } from "../../../core/protocol/codec.ts"

type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** The value podside works with for a golden message's description. The codec's shape tells the types. */
export function fromDescription(codec: AnyCodec, json: Json): unknown {
  if (codec === ip) return json
  if (codec === sockaddr) return socketAddress(json as string)
  const { shape } = codec
  switch (shape.type) {
    case "fixed":
      return shape.leaf === "none" ? undefined : json
    case "varint":
      return /64|128/.test(shape.leaf) && !String(json).includes("-", 1) ? BigInt(json as string) : json
    case "bytes":
      return shape.leaf === "bytes" ? bytes(json as never) : json
    case "struct": {
      const object = json as Record<string, Json>
      const wireNames = shape.fields.map(([key]) => snakeCase(key))
      if (wireNames.length === 1 && !isRecordWith(json, wireNames[0]!)) {
        return { [shape.fields[0]![0]]: fromDescription(shape.fields[0]![1], json) }
      }
      if (Object.keys(object).join() !== wireNames.join()) throw new Error(`${Object.keys(object)} is not ${wireNames}`)
      return Object.fromEntries(
        shape.fields.map(([key, field], index) => [key, fromDescription(field, object[wireNames[index]!]!)]),
      )
    }
    case "tuple":
      return shape.items.map((item, index) => fromDescription(item, (json as Json[])[index]!))
    case "variants": {
      const [kind, content] = typeof json === "string" ? [json, undefined] : Object.entries(json as object)[0]!
      const found = shape.cases.find(([name]) => name === kind)
      if (found === undefined) throw new Error(`${shape.name} has no ${kind}`)
      return content === undefined ? { kind } : { kind, value: fromDescription(found[1], content) }
    }
    case "option":
      return json === null ? null : fromDescription(shape.of, json)
    case "repeat":
      return repeated(shape.leaf, shape.of, json as Json[])
    case "nested":
      return fromDescription(shape.of(), json)
  }
}

function repeated(leaf: string, of: AnyCodec, json: Json[]): unknown {
  if (leaf === "headers") {
    return new Map((json as [string, Json[]][]).map(([name, values]) => [name, values.map(headerValue)]))
  }
  const items = json.map((item) => fromDescription(of, item))
  return leaf === "map" ? new Map(items as [unknown, unknown][]) : items
}

function headerValue(json: Json): string {
  return typeof json === "string" ? json : Buffer.from((json as { hex: string }).hex, "hex").toString("latin1")
}

function bytes(json: { hex: string } | { length: number }): Uint8Array {
  return "hex" in json
    ? Uint8Array.from(Buffer.from(json.hex, "hex"))
    : Uint8Array.from({ length: json.length }, (_, i) => i)
}

function socketAddress(text: string): { ip: string; port: number } {
  const colon = text.lastIndexOf(":")
  return { ip: text.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(text.slice(colon + 1)) }
}

function snakeCase(camel: string): string {
  return camel.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

function isRecordWith(json: Json, key: string): boolean {
  return typeof json === "object" && json !== null && !Array.isArray(json) && key in json
}
