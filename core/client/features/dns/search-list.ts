import { candidates, type ResolverConfig } from "../../../resolv-conf.ts"
import { type Family, hasAddresses, type LookupResult, type Names, resultOf, type Walk } from "./lookup.ts"

/*
 * A program that says "db.shop" in a pod with a search list makes its resolver ask for one full name after the other:
 *
 *   db.shop.web.svc.cluster.local, db.shop.svc.cluster.local, db.shop.cluster.local, db.shop
 *
 * What comes here are these full names. The first one shows what was said, so the agent is asked about all of them at once, and the
 * others are answered from what it told: a walk is one round trip, as it is for the agent. With a name of one word it begins at the second.
 */

/** From one full name to the next a resolver takes less, in milliseconds. */
const momentMs = 1000
/** Walks and misses remembered; a program looks up a few dozen names. */
const maxRemembered = 512
/** Names whose steps are kept: of a long search list they are many. */
const maxKnown = 64
/** A walk with more addresses is not remembered. */
const maxRememberedRecords = 64

/** What a program may have said for a full name, and where in its walk that is. */
interface Step {
  said: string
  /** The same in lower case. */
  key: string
  fullNames: readonly string[]
  index: number
  /** The full name before it, in lower case. */
  before: string | undefined
}

interface Remembered {
  walk: ReturnType<Names["walk"]>
  /** What came of it; what holds no time may be used within the moment, each answer once. Undefined: nothing, names are asked for alone. */
  settled?: { walk: Walk | undefined; momentEnds: number }
  readonly used: Set<string>
}

export interface SearchListOptions {
  config: ResolverConfig
  names: Pick<Names, "remote" | "walk">
  /** Programs read the pod's /etc/hosts by themselves, before they ask. */
  readsHosts: boolean
  /** Milliseconds. */
  now?: () => number
}

/** The pod's search list, as the resolvers of the session's programs go through it. */
export class SearchList {
  readonly #config: ResolverConfig
  readonly #names: SearchListOptions["names"]
  readonly #readsHosts: boolean
  readonly #now: () => number
  readonly #domains: readonly string[]
  readonly #walks = new Map<string, Remembered>()
  readonly #misses = new Map<string, number>()
  readonly #known = new Map<string, readonly Step[]>()

  constructor({ config, names, readsHosts, now = () => performance.now() }: SearchListOptions) {
    this.#config = config
    this.#names = names
    this.#readsHosts = readsHosts
    this.#now = now
    this.#domains = config.search.map((domain) => `.${domain.replace(/\.$/, "").toLowerCase()}`)
  }

  /** Asks the pod for a full name (without the last dot). Never rejects. */
  async lookUp(name: string, family: Family): Promise<LookupResult> {
    const steps = this.#steps(name)
    const step = steps.find((each) => this.#remembered(each, family)) ?? steps.find((each) => this.#isWalk(each))
    const walk = step && (this.#remembered(step, family) ?? this.#begin(step))
    const told = walk && (await this.#take(walk, step, family))
    return told ?? (await this.#names.remote(`${name}.`, family))
  }

  /**
   * What a program may have said that its resolver asks for this full name now, besides the full name itself. `isFurther`: nothing was
   * found for it by the full names before.
   */
  saidFor(name: string): { said: string[]; isFurther: boolean } {
    const steps = this.#steps(name).filter((step) => step.said !== name && this.#isNext(step))
    const further = steps.filter(({ index }) => index > 0)
    const isFurther = further.length > 0
    return { said: (isFurther ? further : steps).map(({ said }) => said), isFurther }
  }

  /** What a resolver was told about this full name: without an address it goes on to the next. */
  answered(name: string, result: LookupResult): void {
    if (hasAddresses(result)) return
    const key = `${name.toLowerCase()}.`
    this.#misses.delete(key)
    this.#misses.set(key, this.#now())
    if (this.#misses.size > maxRemembered) this.#misses.delete(this.#misses.keys().next().value!)
  }

  /** Kept: each lookup asks for them twice for each family, and they cost more than an answer from memory. */
  #steps(name: string): readonly Step[] {
    const known = this.#known.get(name)
    if (known) return known
    const steps = this.#stepsTo(name)
    if (this.#known.size >= maxKnown) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(name, steps)
    return steps
  }

  #stepsTo(name: string): Step[] {
    const lower = name.toLowerCase()
    const wanted = `${lower}.`
    const searched = this.#domains.filter((domain) => domain !== "." && lower.endsWith(domain))
    return [...searched.map(({ length }) => name.slice(0, -length)), name].flatMap((said) => {
      const fullNames = candidates(said, this.#config)
      const index = fullNames.findIndex((full) => full.length === wanted.length && full.toLowerCase() === wanted)
      if (index < 0) return []
      return [{ said, key: said.toLowerCase(), fullNames, index, before: fullNames[index - 1]?.toLowerCase() }]
    })
  }

  /** Would a resolver of a program that said so ask for this full name now? */
  #isNext(step: Step): boolean {
    if (step.before === undefined) return isSearchedFirst(step)
    const missed = this.#misses.get(step.before)
    return missed !== undefined && this.#now() < missed + momentMs
  }

  /**
   * Is it worth to be asked about with all full names? A name of one word is nearly always found by the first; only what stands in the
   * pod's hosts is not.
   */
  #isWalk(step: Step): boolean {
    return this.#isNext(step) && (step.index > 0 || step.said.includes(".") || !this.#readsHosts)
  }

  #remembered({ key, index }: Step, family: Family): Remembered | undefined {
    const known = this.#walks.get(key)
    if (!known?.settled) return known
    const { walk, momentEnds } = known.settled
    const now = this.#now()
    if (!walk) return now < momentEnds ? known : undefined
    const isUnused = now < momentEnds && !known.used.has(`${index} ${family}`)
    return walk.isCurrent() && (now < walk.until || isUnused) ? known : undefined
  }

  #begin({ said, key, fullNames }: Step): Remembered {
    this.#forgetOld()
    const begun: Remembered = { walk: this.#names.walk(said, fullNames), used: new Set() }
    this.#walks.delete(key)
    this.#walks.set(key, begun)
    void begun.walk.then((walk) => {
      const isRemembered = walk === undefined || ("records" in walk && walk.records.length <= maxRememberedRecords)
      if (isRemembered) begun.settled = { walk, momentEnds: this.#now() + momentMs }
      else if (this.#walks.get(key) === begun) this.#walks.delete(key)
    })
    return begun
  }

  #forgetOld(): void {
    const now = this.#now()
    for (const [key, { settled }] of this.#walks) {
      const isOver = settled !== undefined && now >= Math.max(settled.momentEnds, settled.walk?.until ?? 0)
      if (!isOver && this.#walks.size < maxRemembered) return
      this.#walks.delete(key)
    }
  }

  /** Undefined: the walk says nothing about this full name. */
  async #take(known: Remembered, { index }: Step, family: Family): Promise<LookupResult | undefined> {
    const walk = await known.walk
    if (!walk || !("records" in walk)) return walk
    known.used.add(`${index} ${family}`)
    const { codes, records, until } = walk
    const found = codes.length === 0 && !this.#readsHosts ? 0 : codes.length - 1
    if (index === found && records.length > 0) return resultOf(records, family, until > this.#now() ? 0 : undefined)
    const code = codes[index]
    return code === undefined ? undefined : { code }
  }
}

const isSearchedFirst = ({ said, fullNames }: Step) => fullNames[0] !== `${said}.`
