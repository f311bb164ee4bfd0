import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Certificates made for one test file, in a folder of its own. */
export interface Certificates {
  folder: string
  /** Path of `NAME.pem` or `NAME.key`. */
  path(file: string): string
  read(file: string): string
  authority(name: string): Promise<void>
  /** Signed by `authority`; `names` as openssl has them: "DNS:app.test". `from` and `to` as YYYYMMDD of its validity. */
  issue(name: string, authority: string, names?: string, validity?: { from: string; to: string }): Promise<void>
  remove(): void
}

export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), "podside-certificates-"))
  const path = (file: string) => join(folder, file)
  const openssl = async (...args: string[]) => {
    const child = Bun.spawn(["openssl", ...args], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] })
    const [code, text] = await Promise.all([child.exited, new Response(child.stderr).text()])
    if (code !== 0) throw new Error(`openssl ${args.join(" ")}: ${text}`)
  }
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
  return {
    folder,
    path,
    read: (file) => readFileSync(path(file), "utf8"),
    authority: (name) =>
      openssl(
        ...["req", "-x509", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.pem`],
        ...["-days", "2", "-subj", `/CN=${name}`],
      ),
    async issue(name, authority, names, validity) {
      await Bun.write(path(`${name}.ext`), `basicConstraints=CA:FALSE\n${names ? `subjectAltName=${names}\n` : ""}`)
      await openssl("req", ...newKey, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`)
      if (!validity) {
        await openssl(
          ...["x509", "-req", "-in", `${name}.csr`, "-out", `${name}.pem`, "-days", "2", "-extfile", `${name}.ext`],
          ...["-CA", `${authority}.pem`, "-CAkey", `${authority}.key`, "-set_serial", `${Date.now()}`],
        )
        return
      }
      // Only `openssl ca` can choose both dates.
      await Bun.write(path("index.txt"), "")
      await Bun.write(
        path("ca.conf"),
        "[ca]\ndefault_ca=this\n[this]\ndatabase=index.txt\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\nrand_serial=yes\nunique_subject=no\n[any]\ncommonName=supplied\n",
      )
      await openssl(
        ...["ca", "-batch", "-config", "ca.conf", "-in", `${name}.csr`, "-out", `${name}.pem`, "-notext"],
        ...["-extfile", `${name}.ext`, "-cert", `${authority}.pem`, "-keyfile", `${authority}.key`],
        ...["-startdate", `${validity.from}000000Z`, "-enddate", `${validity.to}000000Z`],
      )
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
