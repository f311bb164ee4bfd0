/** Path, whole URI, or `*`. The authority has at most one user name and one port, as the protocol's receivers demand. */
const usualTarget =
  /^(?:\/|\*$|[A-Za-z][A-Za-z0-9+.-]{0,62}:\/\/(?:[A-Za-z0-9\-._~!$&'()*+,;=]+@)?(?:[A-Za-z0-9\-._~!$&'()*+,;=]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?(?:[/?]|$))/
/** Their longest URI. */
const maxTargetBytes = 65_534

// What the protocol's receivers refuse; such a request is not for clients, but the application may well want it.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes a URI may not hold
const notForClients = /[\x00-\x20"<>\\^`#\x7f-\uffff]/

/** One URI its receiver cannot read would cost a client its whole session. */
export function isForClients(target: string): boolean {
  return target.length <= maxTargetBytes && !notForClients.test(target) && usualTarget.test(target)
}
