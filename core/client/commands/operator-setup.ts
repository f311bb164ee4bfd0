import { readFileSync } from "node:fs"
import { parse, stringify } from "yaml"
import { manifests } from "../../../config/manifests/objects.ts"
import { readValues } from "../../../config/manifests/values.ts"
import { type OptionValues, type RunCommand, textOption } from "../../cli/command.ts"
import { AppError, fileFault } from "../../errors.ts"

const maxValuesBytes = 1 << 20

/** Prints the objects the chart would install, for `kubectl apply -f -`. */
export const run: RunCommand = async ({ options }) => {
  const values = readValues(withOptions(valuesFile(textOption(options, "values")), options))
  process.stdout.write(
    manifests(values)
      .map((object) => stringify(object, { aliasDuplicateObjects: false }))
      .join("---\n"),
  )
  return 0
}

function valuesFile(path: string | undefined): Record<string, unknown> {
  if (path === undefined) return {}
  try {
    const text = readFileSync(path, "utf8")
    if (text.length > maxValuesBytes) throw new Error(`it is larger than ${maxValuesBytes} bytes`)
    const values: unknown = parse(text, { maxAliasCount: 100 }) ?? {}
    if (typeof values !== "object" || Array.isArray(values)) throw new Error("it holds no map")
    return values as Record<string, unknown>
  } catch (thrown) {
    throw new AppError("bad-values", `The values file ${path} cannot be used: ${fileFault(thrown)}`, {
      cause: thrown,
      next: "Write it as for the chart: YAML, with the keys of config/chart/values.yaml.",
      exitCode: 2,
    })
  }
}

/** Options win over the file. */
function withOptions(values: Record<string, unknown>, options: OptionValues): Record<string, unknown> {
  const image = textOption(options, "image")
  const colon = image === undefined ? -1 : image.lastIndexOf(":")
  // A colon before the last slash belongs to a registry's port.
  const tagged = image !== undefined && colon > image.lastIndexOf("/")
  const operator = {
    ...(values["operator"] as object | undefined),
    ...(image !== undefined && { image: tagged ? image.slice(0, colon) : image }),
    ...(tagged && { imageTag: image.slice(colon + 1) }),
    ...(options["replicas"] !== undefined && { replicas: Number(options["replicas"]) }),
  }
  const namespace = textOption(options, "namespace")
  return {
    ...values,
    ...(namespace !== undefined && { namespace }),
    ...(Object.keys(operator).length > 0 && { operator }),
  }
}
