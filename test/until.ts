/** Waits for what happens by itself soon. For what can only be asked of a cluster there is `eventually`. */
export async function until(met: () => boolean, what = "it never came"): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!met()) {
    if (performance.now() > deadline) throw new Error(what)
    await Bun.sleep(2)
  }
}
