import { AppError } from "../errors.ts"

/** A line longer than this is not something Kubernetes sends: objects are limited to about 3 MiB. */
const maxLineBytes = 16 << 20

/** Lines of UTF-8 text without their newline; an unfinished last line counts. @throws AppError "kube-bad-answer" */
export async function* readLines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const chunk of body) {
    const text = rest + decoder.decode(chunk, { stream: true })
    const lines = text.split("\n")
    rest = lines.pop() ?? ""
    if (rest.length > maxLineBytes)
      throw new AppError("kube-bad-answer", `The API server sent a line over ${maxLineBytes} bytes`)
    yield* lines
  }
  if (rest) yield rest
}
