import { createPrivateKey, X509Certificate } from "node:crypto"
import { fstatSync, readdirSync, readFileSync } from "node:fs"
import { errorText } from "../../../core/errors.ts"
import { openFlag, withOpenBelow } from "../../../core/linux/open.ts"
import type { KeyPairPaths } from "./steal-tls-config.ts"

/** Bundles of authorities are some hundred KiB. */
const maxFileBytes = 4 << 20
const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
const keyBlock = /-----BEGIN (?:RSA |EC )?PRIVATE KEY-----[^-]+-----END (?:RSA |EC )?PRIVATE KEY-----/g

export interface KeyPair {
  /** PEM: the certificate, then those that vouch for it. */
  cert: string
  key: string
}

/** Certificates and keys of the target's file system, below `rootFd`. */
export class TargetPem {
  readonly #rootFd: number

  constructor(rootFd: number) {
    this.#rootFd = rootFd
  }

  /** @throws Error when a file cannot be read, or the two cannot be used (together, or today) */
  keyPair({ certPem, keyPem }: KeyPairPaths): KeyPair {
    const certificates = this.#read(certPem).match(certificateBlock) ?? []
    if (certificates.length === 0) throw new Error(`${certPem} holds no certificate`)
    const keys = this.#read(keyPem).match(keyBlock) ?? []
    if (keys.length !== 1) throw new Error(`${keyPem} holds ${keys.length} private keys, it must be one`)
    const certificate = parse(certPem, certificates[0]!)
    const problem = validity(certificate)
    if (problem) throw new Error(`the certificate in ${certPem} ${problem}`)
    if (!certificate.checkPrivateKey(privateKey(keyPem, keys[0]!)))
      throw new Error(`the key in ${keyPem} is not that of the certificate in ${certPem}`)
    return { cert: certificates.join("\n"), key: keys[0]! }
  }

  /** Authorities in files and in the files of folders (not those below). What cannot be read is skipped and told. */
  roots(paths: readonly string[], onSkipped: (reason: string) => void): string[] {
    return paths.flatMap((path) => {
      try {
        const files = this.#filesIn(path) ?? [path]
        return files.flatMap((file) => this.#rootsIn(file, onSkipped))
      } catch (thrown) {
        onSkipped(`${path}: ${errorText(thrown)}`)
        return []
      }
    })
  }

  #rootsIn(path: string, onSkipped: (reason: string) => void): string[] {
    try {
      return (this.#read(path).match(certificateBlock) ?? []).filter((block) => {
        try {
          return parse(path, block)
        } catch (thrown) {
          onSkipped(errorText(thrown))
          return false
        }
      })
    } catch (thrown) {
      onSkipped(errorText(thrown))
      return []
    }
  }

  /** Undefined when it is no folder. */
  #filesIn(path: string): string[] | undefined {
    return withOpenBelow(this.#rootFd, path, openFlag.readOnly | openFlag.nonBlocking, (fd) =>
      fstatSync(fd).isDirectory()
        ? readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true })
            .filter((entry) => !entry.isDirectory())
            .map(({ name }) => `${path}/${name}`)
        : undefined,
    )
  }

  #read(path: string): string {
    try {
      // Without waiting for the other end of a pipe somebody put there.
      return withOpenBelow(this.#rootFd, path, openFlag.readOnly | openFlag.nonBlocking, (fd) => {
        const stat = fstatSync(fd)
        if (!stat.isFile()) throw new Error("it is not a file")
        if (stat.size > maxFileBytes) throw new Error(`it is larger than ${maxFileBytes >> 20} MiB`)
        return readFileSync(fd, "latin1")
      })
    } catch (thrown) {
      throw new Error(`cannot read ${path} of the target: ${errorText(thrown)}`)
    }
  }
}

function parse(path: string, block: string): X509Certificate {
  try {
    return new X509Certificate(block)
  } catch {
    throw new Error(`a certificate in ${path} cannot be read`)
  }
}

function privateKey(path: string, block: string) {
  try {
    return createPrivateKey(block)
  } catch {
    throw new Error(`the private key in ${path} cannot be read`)
  }
}

function validity({ validFrom, validTo }: X509Certificate): string | undefined {
  const now = Date.now()
  if (now > Date.parse(validTo)) return `expired on ${validTo}`
  return now < Date.parse(validFrom) ? `is not valid before ${validFrom}` : undefined
}
