import type { Names } from "./lookup.ts"

/** Names kept; an arbitrary program asks for a few dozen. */
const maxNames = 1_000

/** Which addresses a name has, as far as this session has seen; for filters that speak of names. */
export class KnownNames {
  readonly #addresses = new Map<string, Set<string>>()
  /** The names a program got an address for, where the pod was asked. */
  readonly #podNames = new Map<string, readonly string[]>()

  /** `names`: all that lead to the addresses, the one a program is likeliest to have said first. */
  learn(names: readonly string[], ips: readonly string[], from: "pod" | "machine" = "pod"): void {
    for (const ip of ips) {
      this.#podNames.delete(ip)
      if (from === "pod") this.#podNames.set(ip, names)
    }
    for (const old of this.#podNames.keys()) {
      if (this.#podNames.size <= maxNames) break
      this.#podNames.delete(old)
    }
    for (const name of names) {
      const known = this.#addresses.get(name) ?? new Set()
      for (const ip of ips) known.add(ip)
      this.#addresses.delete(name)
      this.#addresses.set(name, known)
      if (this.#addresses.size > maxNames) this.#addresses.delete(this.#addresses.keys().next().value!)
    }
  }

  isAddressOf(name: string, ip: string): boolean {
    return this.#addresses.get(name)?.has(ip) ?? false
  }

  /** The names the pod answered with this address; none when this machine did, or nobody. */
  podNamesOf(ip: string): readonly string[] {
    return this.#podNames.get(ip) ?? []
  }

  /** Asks for names a filter speaks of, so that it can decide about the first connection already. */
  async prepare(filterNames: readonly string[], ask: Names["remote"]): Promise<void> {
    await Promise.all(
      filterNames.flatMap((name) =>
        ([4, 6] as const).map(async (family) => {
          const result = await ask(name, family)
          // No program has these addresses yet.
          if ("ips" in result) this.learn([name], result.ips, "machine")
        }),
      ),
    )
  }
}
