// Installs what package-lock.json names, if that has not been done yet. Plain JavaScript: only Node and npm are there.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"

const oldestNode = 20
if (Number.parseInt(process.versions.node, 10) < oldestNode) {
  console.error(`This is Node ${process.versions.node}; needed is ${oldestNode} or newer.`)
  process.exit(1)
}

const root = new URL("../", import.meta.url)
const mark = new URL("node_modules/.installed-lock", root)
const lock = createHash("sha256")
  .update(readFileSync(new URL("package-lock.json", root)))
  .digest("hex")

if (read(mark) !== lock) {
  console.error("Installing the pinned dependencies (npm ci) ...")
  const flags = ["ci", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
  // What comes after may print what a script reads.
  const stdio = ["inherit", process.stderr, "inherit"]
  const { status } = spawnSync("npm", flags, { cwd: root, stdio, shell: process.platform === "win32" })
  if (status !== 0) {
    console.error(
      "npm ci failed; its message stands above. Needed: Node 20 or newer, npm, and the npm registry in reach.",
    )
    process.exit(1)
  }
  // npm may have been told to run no install scripts; bun's own puts its program into place.
  const bun = new URL("node_modules/.bin/bun", root).pathname
  if (process.platform !== "win32" && spawnSync(bun, ["--version"]).status !== 0) {
    run(process.execPath, ["node_modules/bun/install.js"], "bun could not be installed")
  }
  writeFileSync(mark, lock)
}

function read(url) {
  try {
    return readFileSync(url, "utf8")
  } catch {
    return undefined
  }
}

function run(program, args, failure) {
  const { status } = spawnSync(program, args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" })
  if (status === 0) return
  console.error(`${failure}; the reason stands above. Needed: Node 20 or newer, npm, and the npm registry in reach.`)
  process.exit(1)
}
