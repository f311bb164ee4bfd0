/**
 * How the runtime of an operator's process collects garbage: variables it reads before any of our code runs. By itself it waits until
 * a heap is three times as large on a machine with much memory. A thousand sessions opened in a burst then leave as much garbage as
 * they keep, and a heap never gives back pages that hold some of both.
 */
export const heapEnvironment: Readonly<Record<string, string>> = {
  /** Above so much memory of the machine, in MiB, growth follows the next one; below the runtime knows steps of its own. */
  BUN_JSC_heapGrowthFunctionThresholdInMB: "0",
  /** Growth until the next collection, as a share of what the last one left. With 0.3 bulk through the operator loses a third of its rate. */
  BUN_JSC_heapGrowthMaxIncrease: "0.7",
  /**
   * In bytes; a smaller heap is not collected. What is received counts, so the less this is, the more processor time takes bulk through an
   * operator with few sessions (with 16 MiB a fifth more than with 32); with 32 a thousand sessions opened in a burst leave 15 MiB more.
   */
  BUN_JSC_largeHeapSize: "25165824",
}
