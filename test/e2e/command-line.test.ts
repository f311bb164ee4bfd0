import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { commands } from "../../core/cli/commands.ts"
import { version } from "../../package.json"
import { podside, podsideBinary } from "../binary.ts"

/* The compiled binary from outside: roles, help, mistakes, completions, and what it must not obey. */

let folder: string
beforeAll(async () => {
  await podsideBinary()
  folder = await mkdtemp(join(tmpdir(), "podside-cli-"))
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe("help and version", () => {
  test.each([[["--version"]], [["-V"]]])("%p", async (args) => {
    expect(await podside(args)).toEqual({ code: 0, stdout: `podside ${version}\n`, stderr: "" })
  })
  test("help lists every command that is not hidden", async () => {
    const { stdout, code } = await podside(["--help"])
    expect(code).toBe(0)
    for (const { name, hidden } of commands) {
      if (hidden) expect(stdout).not.toContain(`  ${name} `)
      else expect(stdout).toContain(`  ${name}`)
    }
    expect(stdout).toContain("Exit codes:")
  })
  test("no words at all show the help", async () => {
    expect((await podside([])).stdout).toContain("Usage: podside")
  })
  test.each(commands.map(({ name, summary }) => [name, summary]))("%s --help", async (name, summary) => {
    const { stdout, code } = await podside([...name.split(" "), "--help"])
    expect(stdout).toContain(`Usage: podside ${name}`)
    expect(stdout).toContain(summary)
    expect(code).toBe(0)
  })
  test("help in front is --help behind, for the program, a command and a group; a wrong name is still wrong", async () => {
    for (const words of [[], ["exec"], ["operator", "session", "stop"], ["plugin"]])
      expect(await podside(["help", ...words])).toEqual(await podside([...words, "--help"]))
    expect(await podside(["help", "exce"])).toMatchObject({ code: 2, stderr: expect.stringContaining('"exec"') })
  })
  test("a group shows its commands", async () => {
    const { stdout } = await podside(["plugin"])
    expect(stdout).toContain("Usage: podside plugin <command>")
    expect(stdout).not.toContain("completions")
  })
})

describe("a command line that is not understood ends with 2 and a hint:", () => {
  test.each([
    ["an unknown option", ["--verison"], 'Unknown option "--verison"', '"--version"'],
    ["an unknown command", ["plugn"], 'Unknown command "plugn"', '"plugin"'],
    [
      "a command of mirrord's that podside lacks",
      ["container", "--", "docker", "run", "web"],
      `does not have mirrord's "container"`,
      '"podside exec" inside of the container',
    ],
    ["another one", ["up", "--help"], `does not have mirrord's "up"`, '"podside exec" for each service'],
    ["an unknown command of a group", ["plugin", "chek"], 'Unknown command "chek"', '"check"'],
    ["an unknown option of a command", ["plugin", "list", "--jsn"], 'Unknown option "--jsn"', '"--json"'],
    [
      "an option that stands before the command",
      ["plugin", "list", "--plugins", "."],
      '"--plugins" stands before the command',
      'Write "podside --plugins … plugin list".',
    ],
    ["a port that is none", ["port-forward", "-L", "70000:db:1"], "Port 70000 of", "-L [LOCAL:]HOST:PORT"],
    [
      "one session and all",
      ["operator", "session", "stop", "--all", "-i", "1"],
      "cannot both be meant",
      "--id ID or --all",
    ],
    ["no session", ["operator", "session", "stop"], "No session is named", "--id ID or --all"],
    ["a missing word", ["plugin", "check"], "<file> is missing", "podside plugin check --help"],
    ["a word too many", ["plugin", "list", "all"], 'Unexpected argument "all"', "podside plugin list --help"],
    ["an unknown mode", ["--mode", "agnet"], 'no mode "agnet"', '"agent"'],
    ["a mode without its value", ["--mode"], '"--mode" wants a value', "--help"],
    ["an unknown shell", ["completions", "basch"], '"basch"', "bash, zsh, fish"],
  ])("%s", async (_, args, message, hint) => {
    const { code, stdout, stderr } = await podside(args)
    expect(stderr).toContain(message)
    expect(stderr).toContain(hint)
    expect(stderr).not.toMatch(/\n\s+at /)
    expect(stdout).toBe("")
    expect(code).toBe(2)
  })
})

describe("the role", () => {
  const isAgent = ({ stdout, stderr }: { stdout: string; stderr: string }) => /mirrord-agent/.test(stdout + stderr)

  test("is the agent by --mode, by PODSIDE_MODE and by the program's name", async () => {
    expect(isAgent(await podside(["--mode", "agent", "--help"]))).toBe(true)
    expect(isAgent(await podside(["--mode=agent", "--help"]))).toBe(true)
    expect(isAgent(await podside(["--no-such-flag"], { env: { PODSIDE_MODE: "agent" } }))).toBe(true)
    await symlink(await podsideBinary(), join(folder, "mirrord-agent"))
    const named = Bun.spawnSync([join(folder, "mirrord-agent"), "--no-such-flag"])
    expect(isAgent({ stdout: named.stdout.toString(), stderr: named.stderr.toString() })).toBe(true)
    expect(named.exitCode).toBe(2)
  })
  test("has help of its own: the operator's names its variables with their defaults, and refuses words", async () => {
    const { code, stdout } = await podside(["--mode", "operator", "--help"])
    expect(code).toBe(0)
    expect(stdout).toContain("\n  OPERATOR_LOG_LEVEL=info\n")
    expect(stdout).toContain("\n  OPERATOR_POD_NAME\n")
    expect(await podside(["--mode", "operator", "start"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--help"),
    })
  })
  test("is the client otherwise, and --mode beats PODSIDE_MODE", async () => {
    expect(isAgent(await podside(["--help"]))).toBe(false)
    expect(isAgent(await podside(["--mode", "client"], { env: { PODSIDE_MODE: "agent" } }))).toBe(false)
  })
})

describe("the working directory", () => {
  test("its .env, bunfig.toml, tsconfig.json and package.json have no effect", async () => {
    const trap = join(folder, "trap.ts")
    await writeFile(trap, `require("node:fs").writeFileSync(${JSON.stringify(join(folder, "sprung"))}, "")`)
    await writeFile(join(folder, ".env"), "PODSIDE_MODE=agent\n")
    await writeFile(join(folder, "bunfig.toml"), `preload = [${JSON.stringify(trap)}]\n`)
    await writeFile(join(folder, "tsconfig.json"), "{ broken")
    await writeFile(join(folder, "package.json"), "{ broken")
    const { stdout, code } = await podside(["--help"], { cwd: folder })
    expect(stdout).toContain("Usage: podside")
    expect(code).toBe(0)
    expect(await Bun.file(join(folder, "sprung")).exists()).toBe(false)
  })
})

describe("completions", () => {
  const has = (shell: string) => {
    if (Bun.which(shell)) return true
    console.warn(`SKIPPED: completions for ${shell} are only printed here, ${shell} is not installed`)
    return false
  }
  /** What bash offers for the words, the last of which is being typed. */
  async function offered(...words: string[]): Promise<string[]> {
    const { stdout } = await podside(["completions", "bash"])
    const script = `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _podside 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`
    const shell = Bun.spawnSync(["bash", "-c", script, "bash", "podside", ...words])
    return shell.stdout.toString().split("\n").filter(Boolean)
  }

  test.skipIf(!has("bash"))("bash offers commands, commands of a group, and options", async () => {
    expect(await offered("plu")).toEqual(["plugin"])
    expect(await offered("plugin", "")).toEqual(["list", "check", "types"])
    expect(await offered("plugin", "list", "--j")).toEqual(["--json"])
    expect(await offered("--mo")).toEqual(["--mode"])
  })
  test.skipIf(!has("zsh"))("zsh reads its script", async () => {
    const { stdout } = await podside(["completions", "zsh"])
    expect(Bun.spawnSync(["zsh", "-n", "-c", stdout]).exitCode).toBe(0)
  })
  test.skipIf(!has("fish"))("fish reads its script", async () => {
    const { stdout } = await podside(["completions", "fish"])
    expect(Bun.spawnSync(["fish", "--no-execute", "-c", stdout]).exitCode).toBe(0)
  })
  test("every shell's script names every command", async () => {
    for (const shell of ["bash", "zsh", "fish"]) {
      const { stdout } = await podside(["completions", shell])
      for (const { name, hidden } of commands) {
        if (!hidden) expect(stdout).toContain(name.split(" ").at(-1) as string)
      }
    }
  })
})
