/** True in the compiled binary, where every module lies in one virtual folder. */
const inBinary = import.meta.url.includes("$bunfs") || import.meta.url.includes("~BUN")

/**
 * Starts a thread from a file called `NAME.worker.ts`; `path` begins at the project's root, e.g.
 * "plugins/interception/client/watch/watch.worker.ts". The build makes every such file an entry of the binary. Only
 * there is it looked for when compiled, never in the working directory.
 */
export function startWorker(path: `${string}.worker.ts`): Worker {
  const relative = inBinary ? `./${path.replace(/\.ts$/, ".js")}` : `../${path}`
  return new Worker(new URL(relative, import.meta.url).href)
}
