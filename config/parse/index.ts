import { extname } from "node:path"
import { AppError } from "../../core/errors.ts"
import { isRecord } from "../schema/values.ts"
import { parseJson, syntaxError } from "./json.ts"

/**
 * The keys of a configuration text; the file's ending tells the format (none, and standard input: JSON). An empty YAML
 * or TOML document has no keys; `null` means that a key is not there.
 * @throws AppError "config-syntax", "config-format"
 */
export async function parseConfig(text: string, file: string): Promise<Record<string, unknown>> {
  const value = withoutNulls(await parseAs(extname(file), text, file))
  if (value === undefined) return {}
  if (!isRecord(value)) throw syntaxError(file, "", "an object of keys is expected")
  return value
}

async function parseAs(ending: string, text: string, file: string): Promise<unknown> {
  switch (ending) {
    case "":
    case ".json":
      return parseJson(text, file)
    case ".yaml":
    case ".yml":
      return (await import("./yaml.ts")).parseYaml(text, file)
    case ".toml":
      return (await import("./toml.ts")).parseToml(text, file)
    default:
      throw new AppError(
        "config-format",
        `${file} ends in "${ending}"; formats are .json, .toml, .yaml and .yml, and JSON without an ending`,
        { next: "Give the file the ending of its format." },
      )
  }
}

function withoutNulls(value: unknown): unknown {
  if (value === null) return undefined
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item) ?? null)
  if (!isRecord(value)) return value
  const kept = Object.entries(value).filter(([, child]) => child !== null && child !== undefined)
  return Object.fromEntries(kept.map(([key, child]) => [key, withoutNulls(child)]))
}
