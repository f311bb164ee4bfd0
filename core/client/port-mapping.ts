import { AppError } from "../errors.ts"

/** Listen on 127.0.0.1:`local`, connect from the target to `host`:`remote`. */
export interface Forward {
  local: number
  host: string
  remote: number
}

/** Take the target's port `remote` and give it to 127.0.0.1:`local`. */
export interface ReverseForward {
  remote: number
  local: number
}

/** Reads `[local:]host:remote`. @throws AppError "usage" */
export function parseForward(text: string): Forward {
  const [, localText, host = "", remoteText] = /^(?:(\d{1,5}):)?([A-Za-z0-9._-]+):(\d{1,5})$/.exec(text) ?? []
  const remote = port(remoteText, text)
  return { local: localText === undefined ? remote : port(localText, text), host, remote }
}

/** Reads `remote[:local]`. @throws AppError "usage" */
export function parseReverse(text: string): ReverseForward {
  const [, remoteText, localText] = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text) ?? []
  const remote = port(remoteText, text)
  return { remote, local: localText === undefined ? remote : port(localText, text) }
}

/** @throws AppError "usage" when a number stands twice */
export function requireUnique(numbers: readonly number[], what: string): void {
  const twice = numbers.find((number, index) => numbers.indexOf(number) < index)
  if (twice !== undefined) throw usage(`The ${what} ${twice} is named twice`)
}

function port(text: string | undefined, whole: string): number {
  if (text === undefined) throw usage(`Cannot read the port mapping "${whole}"`)
  const number = Number(text)
  if (number < 1 || number > 65_535) throw usage(`Port ${text} of the mapping "${whole}" is not from 1 to 65535`)
  return number
}

function usage(message: string): AppError {
  return new AppError("usage", message, {
    next: "Write -L [LOCAL:]HOST:PORT to reach something from the target, -R PORT[:LOCAL] to take a port of it.",
    exitCode: 2,
  })
}
