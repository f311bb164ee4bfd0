import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { AppError, fileFault } from "../errors.ts"

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Certificates in PEM files, and in the files of folders (not those below). @throws AppError when there is none */
export function certificatesAt(paths: readonly string[]): string[] {
  const found = paths.flatMap((path) => {
    try {
      const files = statSync(path).isDirectory()
        ? readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
            entry.isDirectory() ? [] : [join(path, entry.name)],
          )
        : [path]
      return files.flatMap((file) => readFileSync(file, "utf8").match(certificateBlock) ?? [])
    } catch (cause) {
      throw new AppError("config-bad-file", `Cannot read the certificate ${path}: ${fileFault(cause)}`, {
        cause,
        next: "Check feature.network.incoming.tls_delivery.",
      })
    }
  })
  if (found.length > 0) return found
  throw new AppError("config-bad-file", `There is no certificate in ${paths.join(", ")}`, {
    next: "feature.network.incoming.tls_delivery wants PEM files with a CERTIFICATE block.",
  })
}
