/** How progress is told. `tree`: for people; `lines`: one plain line an event; `dots`: one character a step; `json`: for programs. */
export type ProgressForm = "tree" | "lines" | "dots" | "json" | "off"

/** A step of a command, shown while it runs. */
export interface Step {
  /** Runs a part of this step. A throw marks it as failed and passes on. The text the work sets with `done` replaces its name at the end. */
  run<T>(name: string, work: (step: Step) => Promise<T>): Promise<T>
  /** What to say instead of the step's name when it has succeeded. */
  done(text: string): void
  info(text: string): void
  warn(text: string): void
}

export interface ProgressOptions {
  form: ProgressForm
  /** Takes finished text with its newlines; for `json` and `lines` standard output, otherwise standard error. */
  write(text: string): void
  /** Milliseconds of a clock that only goes forward. */
  now?(): number
}

export function createProgress(options: ProgressOptions): Step {
  const now = options.now ?? (() => performance.now())
  return stepOf(writers[options.form](options.write), undefined, -1, now, { text: undefined })
}

/** Where each form goes when a command runs for real. */
export function progressTo(form: ProgressForm): Step {
  const stream = form === "json" || form === "lines" ? process.stdout : process.stderr
  return createProgress({ form, write: (text) => void stream.write(text) })
}

/** The names mirrord uses for the forms, besides podside's own. */
export function readProgressForm(text: string | undefined): ProgressForm {
  if (text === "json" || text === "dots" || text === "off") return text
  return text === "dumb" || text === "simple" || text === "lines" ? "lines" : "tree"
}

interface Writer {
  began(name: string, parent: string | undefined, depth: number): void
  ended(name: string, success: boolean, message: string, depth: number, elapsedMs: number): void
  info(text: string, depth: number): void
  warn(text: string, depth: number): void
}

function stepOf(
  writer: Writer,
  name: string | undefined,
  depth: number,
  now: () => number,
  outcome: { text: string | undefined },
): Step {
  return {
    async run(child, work) {
      const started = now()
      const result = { text: undefined as string | undefined }
      writer.began(child, name, depth + 1)
      try {
        const value = await work(stepOf(writer, child, depth + 1, now, result))
        writer.ended(child, true, result.text ?? child, depth + 1, now() - started)
        return value
      } catch (thrown) {
        writer.ended(child, false, result.text ?? child, depth + 1, now() - started)
        throw thrown
      }
    },
    done(text) {
      outcome.text = text
    },
    info: (text) => writer.info(text, depth + 1),
    warn: (text) => writer.warn(text, depth + 1),
  }
}

type Write = (text: string) => void

const writers: Record<ProgressForm, (write: Write) => Writer> = {
  // A finished step stands below its parts: nothing that was printed has to be drawn again, so pipes and logs read the same.
  tree: (write) => ({
    began: () => {},
    ended: (_, success, message, depth, ms) =>
      write(`${pad(depth)}${success ? "✓" : "x"} ${message} (${elapsed(ms)})\n`),
    info: (text, depth) => write(`${pad(depth)}* ${text}\n`),
    warn: (text, depth) => write(`${pad(depth)}! ${text}\n`),
  }),
  lines: (write) => ({
    began: (name) => write(`${name}\n`),
    ended: (_, success, message) => write(`${success ? message : `${message} failed`}\n`),
    info: (text) => write(`${text}\n`),
    warn: (text) => write(`${text}\n`),
  }),
  dots: (write) => ({
    began: () => {},
    ended: (_, success, __, depth) => write(`${success ? "." : "x"}${depth === 0 ? "\n" : ""}`),
    info: () => {},
    warn: (text) => write(`\n! ${text}\n`),
  }),
  json: (write) => {
    const line = (value: object) => write(`${JSON.stringify(value)}\n`)
    return {
      began: (name, parent) => line({ type: "NewTask", name, parent: parent ?? null }),
      ended: (name, success, message) =>
        line({ type: "FinishedTask", name, success, message: message === name ? null : message }),
      info: (message) => line({ type: "Info", message }),
      warn: (message) => line({ type: "Warning", message }),
    }
  },
  off: () => ({ began: () => {}, ended: () => {}, info: () => {}, warn: () => {} }),
}

const pad = (depth: number) => "  ".repeat(Math.max(0, depth))
const elapsed = (ms: number) => (ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`)
