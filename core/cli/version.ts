import { version } from "../../package.json"

/** podside's own version, e.g. "0.1.0". */
export const podsideVersion: string = version

/** On the object that describes an operator: whose version that is, beside the one of mirrord's that it behaves like. */
export const versionLabel = "podside.dev/version"
