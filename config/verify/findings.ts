/** What checks of a configuration found, one sentence each. */
export interface Findings {
  errors: string[]
  warnings: string[]
}
