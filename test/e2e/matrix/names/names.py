# Prints for each name whether it is found, and what it is called in full.
import socket
import sys

for name in sys.argv[1:]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        print(name, found[0][3])
    except socket.gaierror:
        print(name, "none")
