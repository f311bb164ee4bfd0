import type { Value } from "./value.ts"

/** The names that can be seen at a place: a loop's own, those around it, those of the file. */
export class Scope {
  readonly #names = new Map<string, Value>()
  readonly #around: Scope | undefined

  constructor(names: Readonly<Record<string, Value>>, around?: Scope) {
    for (const [name, value] of Object.entries(names)) this.#names.set(name, value)
    this.#around = around
  }

  get(name: string): Value | undefined {
    return this.#names.get(name) ?? this.#around?.get(name)
  }

  /** `set`: what a loop sets is gone after its turn. */
  set(name: string, value: Value): void {
    this.#names.set(name, value)
  }

  /** `set_global`: for the rest of the file. */
  setGlobal(name: string, value: Value): void {
    if (this.#around === undefined) this.#names.set(name, value)
    else this.#around.setGlobal(name, value)
  }
}
