"""See ../matrix.test.ts for what a probe prints."""
import http.server, os, re, socket, sys, urllib.request


def say(line):
    print(line, flush=True)


say("env=" + os.environ.get("GREETING", ""))
with open("/data/plain.txt") as file:
    say("file=" + file.read().strip())
say("list=%d" % len(os.listdir("/data/many")))
say("host=" + socket.gethostname())
with urllib.request.urlopen("http://backend:8080/") as answer:
    say("tcp=" + re.search(r'"name":"(\w+)"', answer.read().decode()).group(1))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.settimeout(10)
datagrams.sendto(b"by udp", (socket.gethostbyname("backend"), 7001))
say("udp=" + datagrams.recv(100).decode())


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        say("request=" + self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(("probe " + sys.argv[1]).encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler)
say("listening")
server.serve_forever()
