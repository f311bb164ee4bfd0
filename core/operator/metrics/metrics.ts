/** Prometheus series in the text format, as few kinds as the operator needs. */

export type Labels = Readonly<Record<string, string>>

/** Label sets kept for one series; beyond that, further ones are counted under `other`. */
const maxLabelSets = 2_000

interface Series {
  render(): string
}

export class Metrics {
  readonly #series: Series[] = []

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help))
  }

  gauge(name: string, help: string, read: () => number): void {
    this.#add({ render: () => `${header(name, help, "gauge")}${name} ${read()}\n` })
  }

  /** `bounds` are upper limits in the unit the name says. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, bounds))
  }

  render(): string {
    return this.#series.map((series) => series.render()).join("")
  }

  #add<S extends Series>(series: S): S {
    this.#series.push(series)
    return series
  }
}

export class Counter implements Series {
  readonly #name: string
  readonly #help: string
  readonly #values = new Map<string, number>()

  constructor(name: string, help: string) {
    this.#name = name
    this.#help = help
  }

  add(labels: Labels = {}, by = 1): void {
    const key = bounded(this.#values, labelText(labels))
    this.#values.set(key, (this.#values.get(key) ?? 0) + by)
  }

  render(): string {
    const lines = [...this.#values].map(([labels, value]) => `${this.#name}${braces(labels)} ${value}\n`)
    return header(this.#name, this.#help, "counter") + lines.join("")
  }
}

export class Histogram implements Series {
  readonly #name: string
  readonly #help: string
  readonly #bounds: readonly number[]
  readonly #values = new Map<string, { buckets: number[]; sum: number; count: number }>()

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name
    this.#help = help
    this.#bounds = bounds
  }

  observe(value: number, labels: Labels = {}): void {
    const key = bounded(this.#values, labelText(labels))
    const entry = this.#values.get(key) ?? { buckets: this.#bounds.map(() => 0), sum: 0, count: 0 }
    this.#values.set(key, entry)
    entry.sum += value
    entry.count++
    for (const [i, bound] of this.#bounds.entries()) if (value <= bound) entry.buckets[i]!++
  }

  render(): string {
    const lines = [...this.#values].flatMap(([labels, { buckets, sum, count }]) => [
      ...this.#bounds.map((bound, i) => `${this.#name}_bucket${braces(labels, `le="${bound}"`)} ${buckets[i]}\n`),
      `${this.#name}_bucket${braces(labels, 'le="+Inf"')} ${count}\n`,
      `${this.#name}_sum${braces(labels)} ${sum}\n`,
      `${this.#name}_count${braces(labels)} ${count}\n`,
    ])
    return header(this.#name, this.#help, "histogram") + lines.join("")
  }
}

const header = (name: string, help: string, type: string) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`

const braces = (...labels: string[]) => {
  const text = labels.filter(Boolean).join(",")
  return text === "" ? "" : `{${text}}`
}

function labelText(labels: Labels): string {
  const escaped = (value: string) => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escaped(value)}"`)
    .join(",")
}

/** Users choose some label values, so their number must not be theirs to choose. */
function bounded(values: ReadonlyMap<string, unknown>, key: string): string {
  return values.has(key) || values.size < maxLabelSets ? key : 'other="true"'
}
