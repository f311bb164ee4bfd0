import type { Context } from "hono"
import type { FrontDoorEnv } from "./front-door.ts"
import { badRequest, StatusError } from "./status.ts"

/** The request's body, read no further than `maxBytes`. @throws StatusError 413 */
export async function readText(c: Context<FrontDoorEnv>, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of c.req.raw.body ?? []) {
    length += chunk.length
    if (length > maxBytes)
      throw new StatusError(413, "RequestEntityTooLarge", `The body is longer than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** The same as JSON. @throws StatusError 400, 413 */
export async function readJson(c: Context<FrontDoorEnv>, maxBytes: number): Promise<unknown> {
  return parseJson(await readText(c, maxBytes))
}

/** @throws StatusError 400 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw badRequest("The body is not JSON")
  }
}
