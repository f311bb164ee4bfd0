/** jq without what changes its input (assignments and paths), modules, labels and alternative destructuring. */
export type Expression =
  | { kind: "identity" }
  | { kind: "literal"; value: unknown }
  | { kind: "text"; parts: (string | Expression)[] }
  | { kind: "variable"; name: string }
  | { kind: "field"; of: Expression; name: Expression; optional: boolean }
  | { kind: "slice"; of: Expression; from: Expression | undefined; to: Expression | undefined; optional: boolean }
  | { kind: "iterate"; of: Expression; optional: boolean }
  | { kind: "binary"; operator: string; left: Expression; right: Expression }
  | { kind: "negate"; of: Expression }
  | { kind: "call"; name: string; args: Expression[] }
  | { kind: "if"; branches: [test: Expression, then: Expression][]; otherwise: Expression | undefined }
  | { kind: "as"; value: Expression; pattern: Pattern; body: Expression }
  | { kind: "reduce"; value: Expression; pattern: Pattern; init: Expression; update: Expression }
  | {
      kind: "foreach"
      value: Expression
      pattern: Pattern
      init: Expression
      update: Expression
      extract: Expression | undefined
    }
  | { kind: "def"; name: string; params: string[]; body: Expression; rest: Expression }
  | { kind: "format"; name: string }
  | { kind: "try"; body: Expression; rescue: Expression | undefined }
  | { kind: "array"; of: Expression | undefined }
  | { kind: "object"; entries: [key: Expression, value: Expression][] }

/** What a value is taken apart into. */
export type Pattern =
  | { kind: "name"; name: string }
  | { kind: "items"; items: Pattern[] }
  | { kind: "entries"; entries: [key: Expression, pattern: Pattern][] }
