import { type GetAddrInfoResponse, lifeOf, walkOf } from "../../protocol/index.ts"

/** Addresses whose names are remembered for one client, and names of each; the oldest go first. */
const maxAddresses = 4_096
const maxNames = 16

/** Clients connect to addresses: which names they have looked up before is what rules about names can go by. */
export class ResolvedNames {
  /** Names the agent has not answered yet, in order. */
  readonly #asked: string[] = []
  readonly #names = new Map<string, readonly string[]>()

  /** The question goes to the agent. */
  asked(name: string): void {
    this.#asked.push(normal(name))
  }

  /** The agent's answer to the oldest question. */
  answered(answer: GetAddrInfoResponse): void {
    const asked = this.#asked.shift()
    if (asked === undefined || answer.kind !== "Ok") return
    const isWithMore = (lifeOf(answer.value) ?? walkOf(answer.value)) !== undefined
    for (const { ip, name } of isWithMore ? answer.value.slice(0, -1) : answer.value) {
      this.#remember(ip, asked)
      // Whose address it is: the full name, where a search list led there, or an alias's.
      if (name !== "") this.#remember(ip, normal(name))
    }
  }

  of(address: string): readonly string[] {
    return this.#names.get(address) ?? []
  }

  /** Nothing that was asked will be answered any more; what was answered stays true of the client. */
  lost(): void {
    this.#asked.length = 0
  }

  #remember(address: string, name: string): void {
    const others = this.of(address).filter((known) => known !== name)
    this.#names.delete(address)
    this.#names.set(address, [...others, name].slice(-maxNames))
    const oldest = this.#names.size > maxAddresses ? this.#names.keys().next().value : undefined
    if (oldest !== undefined) this.#names.delete(oldest)
  }
}

const normal = (name: string) => name.toLowerCase().replace(/\.$/, "")
