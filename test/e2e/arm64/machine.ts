const emulator = "qemu-system-aarch64"
const memoryMiB = 3072

/** What this machine lacks to emulate another one; empty when nothing. */
export function lackOfEmulator(): string[] {
  const needed = { [emulator]: "qemu-system-arm", "apt-get": "apt", "dpkg-deb": "dpkg", go: "golang" }
  return Object.entries(needed).flatMap(([program, name]) =>
    Bun.which(program) ? [] : [`${program} (Debian: ${name})`],
  )
}

/**
 * Starts the machine, gives every line of its console to `onLine`, and resolves when it has switched itself off.
 * @throws Error when it did not within the limit, with what the emulator complained about
 */
export async function runMachine(
  { kernel, files }: { kernel: string; files: string },
  limitSeconds: number,
  onLine: (line: string) => void,
): Promise<void> {
  const hardware = ["-machine", "virt", "-cpu", "neoverse-n1", "-smp", "2", "-m", `${memoryMiB}`]
  const quiet = ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-net", "none"]
  const boot = ["-kernel", kernel, "-initrd", files]
  const words = ["-append", "console=ttyAMA0 rdinit=/init quiet loglevel=1 panic=-1"]
  const child = Bun.spawn([emulator, ...hardware, ...quiet, ...boot, ...words], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  })
  const complaints = new Response(child.stderr).text()
  const timer = setTimeout(() => child.kill("SIGKILL"), limitSeconds * 1000)
  try {
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of child.stdout) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
      rest = lines.pop() ?? ""
      for (const line of lines) onLine(line.replace(/\r$/, ""))
    }
    const code = await child.exited
    if (code !== 0) throw new Error(`the emulated machine ended with ${code ?? child.signalCode}: ${await complaints}`)
  } finally {
    clearTimeout(timer)
    child.kill("SIGKILL")
  }
}
