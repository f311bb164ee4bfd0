import { AppError } from "../../../../core/errors.ts"

/** @throws AppError "bad-jq" */
export function compileJq(_source: string): (input: string) => unknown[] {
  throw new AppError("bad-jq", "jq filters are not supported", { next: "Use a header filter." })
}
