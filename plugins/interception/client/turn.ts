/** What was said to the agent in this turn of the event loop is on its way when this resolves. */
export function questionsLeave(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
