import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Command, InvalidArgumentError } from "commander"
import { AppError, errorText } from "../../core/errors.ts"
import { componentsOf } from "./components.ts"
import { clusterFolder, defaultName, readLayout } from "./layout.ts"
import { holderOf, processesOf } from "./processes.ts"
import { lastLines } from "./run.ts"
import { down, up } from "./up.ts"
import { userKubeconfig } from "./users.ts"

// Whoever reads may leave early (`… logs | head`).
process.stdout.on("error", () => process.exit(0))

const say = (line: string) => void process.stderr.write(`${line}\n`)
const print = (line: string) => void process.stdout.write(`${line}\n`)
const name = ["--name <name>", "the cluster's name; several can run side by side", defaultName] as const

const command = new Command("cluster").description("A real Kubernetes for the tests").showHelpAfterError()

command
  .command("up")
  .description("bring the cluster up, or heal it")
  .option(...name)
  .action(async (options: { name: string }) => {
    const layout = await up(options.name, say)
    say(`the cluster ${layout.name} is ready`)
    print(`export KUBECONFIG=${join(layout.folder, "admin.kubeconfig")}`)
  })

command
  .command("down")
  .description("remove the cluster and everything it has")
  .option(...name)
  .action(async (options: { name: string }) => {
    await down(options.name, say)
    say(`the cluster ${options.name} is gone`)
  })

command
  .command("status")
  .description("which processes run; exit code 1 when one is missing")
  .option(...name)
  .action((options: { name: string }) => {
    const layout = readLayout(options.name)
    const holder = layout && holderOf(layout.folder)
    if (!layout || holder === null) {
      print(`the cluster ${options.name} is down`)
      process.exitCode = 1
      return
    }
    const running = processesOf(holder)
    for (const component of componentsOf(layout)) {
      const pid = running.get(component.name)
      if (pid === undefined) process.exitCode = 1
      print(`${component.name.padEnd(24)} ${pid === undefined ? "not running" : `pid ${pid}`}`)
    }
    print(`${"network".padEnd(24)} nsenter --target ${holder} --net`)
  })

command
  .command("kubeconfig")
  .description("print the path of a user's kubeconfig file; the user is made when needed")
  .argument("[user]", "name of the user", "admin")
  .option("--group <group...>", "groups of the user", [])
  .option(...name)
  .action(async (user: string, options: { name: string; group: string[] }) => {
    const layout = runningLayout(options.name)
    const admin = join(layout.folder, "admin.kubeconfig")
    print(user === "admin" ? admin : await userKubeconfig(admin, join(layout.folder, "users"), user, options.group))
  })

command
  .command("logs")
  .description("the last lines a component has written")
  .argument("[component]", "none: all")
  .option("--lines <count>", "how many lines", parseCount, 20)
  .option(...name)
  .action(async (component: string | undefined, options: { name: string; lines: number }) => {
    const folder = join(clusterFolder(options.name), "logs")
    const known = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith(".log")) : []
    const wanted = component === undefined ? known : known.filter((file) => file === `${component}.log`)
    if (wanted.length === 0) {
      throw new AppError("no-log", `The cluster ${options.name} has no log of ${component ?? "any component"}`, {
        next: known.length
          ? `Choose one of ${known.map((file) => file.slice(0, -4)).join(", ")}.`
          : "Bring it up first.",
      })
    }
    for (const file of wanted)
      print(`${file.slice(0, -4)}:\n${lastLines(await Bun.file(join(folder, file)).text(), options.lines)}`)
  })

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError("Give a number of lines.")
  return Number(text)
}

function runningLayout(wanted: string) {
  const layout = readLayout(wanted)
  if (layout && holderOf(layout.folder) !== null) return layout
  throw new AppError("cluster-down", `The cluster ${wanted} is down`, { next: "Run npm run cluster -- up first." })
}

try {
  await command.parseAsync()
} catch (error) {
  say(`error: ${errorText(error)}`)
  if (error instanceof AppError && error.next) say(`next: ${error.next}`)
  process.exit(error instanceof AppError ? error.exitCode : 1)
}
