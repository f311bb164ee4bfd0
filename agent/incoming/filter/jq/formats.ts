import { asText, JqError, type Json } from "./values.ts"

const entities: Record<string, string> = { "<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&#39;", '"': "&quot;" }

/** What `@name` makes of a value. Source: the jq manual, "Format strings and escaping". */
export const formats: Record<string, (value: Json) => Json> = {
  "@text": asText,
  "@json": (value) => JSON.stringify(value),
  "@html": (value) => asText(value).replace(/[<>&'"]/g, (character) => entities[character]!),
  "@uri": (value) =>
    encodeURIComponent(asText(value)).replace(
      /[!'()*]/g,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    ),
  "@base64": (value) => Buffer.from(asText(value)).toString("base64"),
  "@base64d": decode,
}

/** As found in tokens, the URL alphabet will do, too. */
function decode(value: Json): Json {
  const text = asText(value)
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text) || text.replace(/=+$/, "").length % 4 === 1) {
    throw new JqError("is not base64")
  }
  return Buffer.from(text, "base64").toString()
}
