/** podside is free software: no licence limits it. Clients and dashboards want a date that is still to come. */
export const licenseEnd = "9999-12-31"
