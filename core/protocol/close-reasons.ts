/** An agent's `Close` when its target's process is gone: a pod that is restarted or replaced, not a fault of the client. */
export const targetEnded = "The target container has ended"
