import type { Arguments, Value } from "../value.ts"

/** What `{{ value | name(key=argument) }}` does. @throws Error when a value or an argument is not of its kind */
export type Filter = (value: Value, args: Arguments) => Value
