/** Codes of handshakes that came to nothing, as the runtime names them; other codes are about the peer's certificate. */
const broken = /^(EPROTO|ECONN|EPIPE|ETIMEDOUT|ERR_(SSL|OSSL)_)/

/**
 * Why a TLS connection may not be used, from what a handshake handler of the runtime is told; undefined: it may. Without
 * `rejectUnauthorized` the connection stands whatever is wrong with the certificate, but a name that does not fit is told as if
 * the handshake had failed.
 */
export function handshakeFailure(
  isGood: boolean,
  error: (Error & { code?: string }) | null | undefined,
  rejectUnauthorized: boolean | undefined,
): Error | undefined {
  if (isGood) return undefined
  if (rejectUnauthorized === false && error && !broken.test(error.code ?? "EPROTO")) return undefined
  return error ?? new Error("the TLS handshake failed")
}
