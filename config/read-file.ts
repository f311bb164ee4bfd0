import { AppError, fileFault } from "../core/errors.ts"

/** Largest configuration file, in bytes. */
export const maxConfigBytes = 1024 * 1024

const otherFile = "Give the path of a readable file with --config-file."

/**
 * The text of a file, or of standard input for "-".
 * @throws AppError "config-unreadable", "config-too-large", "config-not-text"
 */
export async function readConfigText(file: string): Promise<string> {
  const blob = file === "-" ? Bun.stdin : Bun.file(file)
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of blob.stream()) {
      chunks.push(chunk)
      length += chunk.length
      if (length > maxConfigBytes) break
    }
  } catch (cause) {
    throw new AppError("config-unreadable", `Cannot read configuration file ${file}: ${fileFault(cause)}`, {
      cause,
      next: otherFile,
    })
  }
  if (length > maxConfigBytes) {
    throw new AppError(
      "config-too-large",
      `${file} is larger than ${maxConfigBytes} bytes; that is no configuration file`,
      { next: otherFile },
    )
  }
  return decoded(file, Buffer.concat(chunks, length))
}

function decoded(file: string, bytes: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes)
    if (!text.includes("\0")) return text
  } catch {
    // Said below, together with texts that hold a NUL.
  }
  throw new AppError("config-not-text", `${file} is not a text file in UTF-8`, { next: otherFile })
}
