import type { Environment } from "./env-overrides.ts"
import { parseConfig } from "./parse/index.ts"
import { render } from "./template/render.ts"

/** Length of a generated session key, in hexadecimal digits. */
const generatedKeyDigits = 5

export interface SessionKey {
  key: string
  /** Made up, not given by the user. */
  generated: boolean
}

/**
 * The session key: `MIRRORD_KEY`, else the `key` of a file that can be read before it is rendered, else a random one.
 * @throws AppError "config-template"
 */
export async function chooseSessionKey(
  text: string,
  file: string | undefined,
  environment: Environment,
  gitBranch?: () => string | undefined,
): Promise<SessionKey> {
  const given = environment["MIRRORD_KEY"]
  if (given) return { key: given, generated: false }
  const written = file === undefined ? undefined : await writtenKey(text, file)
  if (written === undefined) return { key: randomKey(), generated: true }
  return { key: render(written, file!, { environment, gitBranch }), generated: false }
}

async function writtenKey(text: string, file: string): Promise<string | undefined> {
  try {
    const { key } = await parseConfig(text, file)
    return typeof key === "string" && key !== "" ? key : undefined
  } catch {
    // A template is often no document yet. What is wrong with one that is none afterwards either is said then.
    return undefined
  }
}

function randomKey(): string {
  const [number = 0] = crypto.getRandomValues(new Uint32Array(1))
  return number.toString(16).padStart(8, "0").slice(-generatedKeyDigits)
}

/** The branch a template may use: `MIRRORD_BRANCH_NAME`, else what git says about the working directory. */
export function currentBranch(environment: Environment): string | undefined {
  const given = environment["MIRRORD_BRANCH_NAME"]
  if (given) return given
  try {
    const git = Bun.spawnSync(["git", "branch", "--show-current"], {
      stdout: "pipe",
      stderr: "ignore",
      timeout: gitTimeoutMs,
    })
    return git.success ? git.stdout.toString().trim() || undefined : undefined
  } catch {
    return undefined
  }
}

const gitTimeoutMs = 2000
