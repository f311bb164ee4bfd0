import type { ListenAddress } from "../../config/operator.ts"

/** What listening on an address fails with that this machine does not have. */
const missing = new Set(["EAFNOSUPPORT", "EADDRNOTAVAIL"])

/** Listens on the first address there is here: a cluster's pods may have IPv6 only, or a kernel without it. */
export async function onFirst<T>(
  addresses: readonly ListenAddress[],
  listen: (address: ListenAddress) => T | Promise<T>,
): Promise<T> {
  const [first, ...others] = addresses
  if (!first) throw new Error("there is no address to listen on")
  try {
    return await listen(first)
  } catch (error) {
    if (others.length === 0 || !missing.has((error as { code?: string }).code ?? "")) throw error
    return onFirst(others, listen)
  }
}
