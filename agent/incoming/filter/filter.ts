export interface CompiledFilter {
  needsBody: boolean
  matches(): boolean
}
export function compileFilter(_f: unknown, _s: unknown): CompiledFilter {
  return { needsBody: false, matches: () => false }
}
