export type LogLevel = "debug" | "info" | "warn" | "error"
export type LogFields = Record<string, unknown>

/** One event a line: a constant message, what varies in `fields`. Payload bytes and secrets never belong in either. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds `fields` to every line. */
  child(fields: LogFields): Logger
}

/** A value that must never be printed: every way of turning it into text gives `[secret]`. */
export class Secret<T> {
  readonly #value: T
  constructor(value: T) {
    this.#value = value
  }
  /** The value itself, for the one place that needs it. */
  reveal(): T {
    return this.#value
  }
  toString(): string {
    return "[secret]"
  }
  toJSON(): string {
    return "[secret]"
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]"
  }
}

export interface LogOptions {
  /** `json`: one object a line. `text`: for people. Default `text`. */
  format?: "json" | "text"
  /** Lowest level written. Default `info`. */
  level?: LogLevel
  /** Takes one finished line without its newline. Default: standard error. */
  write?(line: string): void
}

const order: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 }

export function createLogger(options: LogOptions = {}, bound: LogFields = {}): Logger {
  const threshold = order[options.level ?? "info"]
  const write = options.write ?? ((line: string) => void process.stderr.write(`${line}\n`))
  const format = options.format === "json" ? jsonLine : textLine
  const emit = (level: LogLevel, message: string, fields?: LogFields) => {
    if (order[level] >= threshold) write(format(level, message, { ...bound, ...fields }))
  }
  return {
    debug: (message, fields) => emit("debug", message, fields),
    info: (message, fields) => emit("info", message, fields),
    warn: (message, fields) => emit("warn", message, fields),
    error: (message, fields) => emit("error", message, fields),
    child: (fields) => createLogger(options, { ...bound, ...fields }),
  }
}

/** A logger that writes nothing. */
export const silentLogger: Logger = createLogger({ write: () => {} })

function jsonLine(level: LogLevel, message: string, fields: LogFields): string {
  return JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }, plain)
}

function textLine(level: LogLevel, message: string, fields: LogFields): string {
  const tail = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value, plain) ?? String(value)}`)
  return `${new Date().toISOString()} ${level.padEnd(5)} ${message}${tail.join("")}`
}

/** Errors lose their stack and keep code and message; bytes become their length, so that no payload is ever logged. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString()
  if (value instanceof Error) return "code" in value ? `${String(value.code)}: ${value.message}` : value.message
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`
  return value
}
