import type { Codec, Infer } from "../codec.ts"
import { list, nested, struct, variants } from "../composites.ts"
import { bool, none, str } from "../primitives.ts"

/** Source of a regular expression. */
const filter = str

const httpMethodFilter = variants("HttpMethodFilter", {
  Get: none,
  Head: none,
  Post: none,
  Put: none,
  Delete: none,
  Connect: none,
  Options: none,
  Trace: none,
  Patch: none,
  Other: str,
})
export type HttpMethodFilter = Infer<typeof httpMethodFilter>

const httpBodyFilter = variants("HttpBodyFilter", {
  /** A JSONPath query and a regular expression for what it selects. */
  Json: struct({ query: str, matches: filter }),
})
export type HttpBodyFilter = Infer<typeof httpBodyFilter>

/** Which requests a subscription is about. Regular expressions and queries travel as their source. */
export type HttpFilter =
  | { kind: "Header"; value: string }
  | { kind: "Path"; value: string }
  | { kind: "Composite"; value: { all: boolean; filters: HttpFilter[] } }
  | { kind: "Method"; value: HttpMethodFilter }
  | { kind: "Body"; value: HttpBodyFilter }
  | { kind: "HeaderJq"; value: string }

/** The smallest filter is an empty text or a method: a tag and one byte. */
const smallestFilterBytes = 2

export const httpFilter: Codec<HttpFilter> = variants("HttpFilter", {
  Header: filter,
  Path: filter,
  Composite: struct({ all: bool, filters: list(nested(smallestFilterBytes, () => httpFilter)) }),
  Method: httpMethodFilter,
  Body: httpBodyFilter,
  HeaderJq: str,
})
