import type { LoadedPlugin, PluginConfigs, Plugins, Role, StartOptions } from "./host.ts"

/** What `core/main.ts` hands to whatever it starts: a role or a command. */
export interface RoleContext {
  /** Every plugin in list order: the built-in ones, then those of `--plugins DIR`. @throws AppError naming file, line and reason */
  loadPlugins(): Promise<readonly LoadedPlugin[]>
  /** What `--plugin-config` says, or nothing. @throws AppError "bad-plugin-config" */
  loadPluginConfig(): Promise<PluginConfigs>
  /** Loads, wires and starts the plugins for this role. The caller ends with `plugins.stop()`. */
  startPlugins<R extends Role>(role: R, options: StartOptions): Promise<Plugins<R>>
  /**
   * Aborted by the first SIGINT or SIGTERM; a second one ends the process with 128 + signal. Signals keep their
   * default effect until this is called for the first time.
   */
  stopOnSignals(): AbortSignal
  /** Until `program` is over signals are for it, however many come: whoever runs it passes them on. */
  leaveSignalsTo(program: Promise<unknown>): void
}

/** The entry of a role: `argv` without the program's name and without `--mode`; resolves with the exit code. */
export type RunRole = (argv: readonly string[], context: RoleContext) => Promise<number>
