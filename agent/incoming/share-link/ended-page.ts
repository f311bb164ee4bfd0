/** Seconds until the page goes on by itself. */
const waitSeconds = 5

/** What somebody sees who follows a link after its session; `path` is where the application is without it. */
export function endedPage(path: string): Buffer {
  const to = escaped(path)
  return Buffer.from(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="${waitSeconds};url=${to}">
<title>Session ended</title>
</head>
<body>
<h1>Session ended</h1>
<p>The session this link leads to is over. In ${waitSeconds} seconds you see the application <a href="${to}">without it</a>.</p>
</body>
</html>
`)
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
