import { AppError } from "../errors.ts"
import type { OptionDescription } from "./command.ts"

/** An `OptionDescription` taken apart. */
export interface ParsedOption {
  /** camelCase of the first long name. */
  key: string
  /** With their dashes. */
  names: readonly string[]
  /** `none`: a flag. `required`, `optional`: may use the next word. `equals`: only `--name=value`. */
  value: "none" | "required" | "optional" | "equals"
  /** What stands between the brackets, for messages: "path". */
  valueName: string
  repeatable: boolean
  description: OptionDescription
}

const shape = /^((?:-\w, )?--[\w-]+(?:, --[\w-]+)*)(?: <([^>]+)>| \[([^\]]+)\]|\[=([^\]]+)\])?$/

/** @throws AppError "bad-option-description", a mistake in podside itself */
export function parseOption(description: OptionDescription): ParsedOption {
  const match = shape.exec(description.flags)
  if (!match) throw new AppError("bad-option-description", `Cannot read the option description "${description.flags}"`)
  const [, names = "", required, optional, equals] = match
  const list = names.split(", ")
  const long = list.find((name) => name.startsWith("--")) as string
  const valueName = required ?? optional ?? equals ?? ""
  return {
    key: long.slice(2).replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()),
    names: list,
    value: required ? "required" : optional ? "optional" : equals ? "equals" : "none",
    valueName: valueName.replace(/\.\.\.$/, ""),
    repeatable: valueName.endsWith("..."),
    description,
  }
}
