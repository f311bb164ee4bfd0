/* For the GNU C library and, linked statically, for musl. See ../matrix.test.ts for what a probe prints. */
#include <dirent.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <netinet/in.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int connected(const char *port, int type) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = type}, *found;
    int error = getaddrinfo("backend", port, &hints, &found);
    if (error) {
        fprintf(stderr, "probe: %s\n", gai_strerror(error));
        exit(1);
    }
    for (struct addrinfo *each = found; each; each = each->ai_next) {
        int socket_fd = socket(each->ai_family, type, 0);
        if (connect(socket_fd, each->ai_addr, each->ai_addrlen) == 0) {
            struct timeval patience = {.tv_sec = 10};
            setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            freeaddrinfo(found);
            return socket_fd;
        }
        close(socket_fd);
    }
    fail("connect");
    return -1;
}

static void serve(const char *name) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 10)) fail("listen");
    puts("listening");
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) fail("accept");
        char request[8192] = "";
        for (size_t length = 0; length < sizeof request - 1 && !strstr(request, "\r\n\r\n");) {
            ssize_t count = read(client, request + length, sizeof request - 1 - length);
            if (count <= 0) break;
            length += count;
            request[length] = 0;
        }
        char path[1024];
        if (sscanf(request, "%*s %1023s", path) == 1) {
            printf("request=%s\n", path);
            char answer[256], body[64];
            int size = snprintf(body, sizeof body, "probe %s", name);
            size = snprintf(answer, sizeof answer,
                            "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", size, body);
            if (write(client, answer, size) != size) fail("write");
        }
        close(client);
    }
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *greeting = getenv("GREETING");
    printf("env=%s\n", greeting ? greeting : "");

    char text[65536] = "";
    FILE *file = fopen("/data/plain.txt", "r");
    if (!file || !fgets(text, sizeof text, file)) fail("/data/plain.txt");
    printf("file=%.*s\n", (int)strcspn(text, "\n"), text);

    DIR *folder = opendir("/data/many");
    if (!folder) fail("/data/many");
    int names = 0;
    for (struct dirent *each; (each = readdir(folder));) names += each->d_name[0] != '.';
    printf("list=%d\n", names);

    gethostname(text, sizeof text);
    printf("host=%s\n", text);

    int http = connected("8080", SOCK_STREAM);
    const char *request = "GET / HTTP/1.0\r\n\r\n";
    if (write(http, request, strlen(request)) < 0) fail("write");
    size_t length = 0;
    for (ssize_t got; (got = read(http, text + length, sizeof text - 1 - length)) > 0;) length += got;
    text[length] = 0;
    char *name = strstr(text, "\"name\":\"");
    if (!name) fail("answer without a name");
    name += strlen("\"name\":\"");
    printf("tcp=%.*s\n", (int)strcspn(name, "\""), name);

    int udp = connected("7001", SOCK_DGRAM);
    if (send(udp, "by udp", 6, 0) != 6) fail("send");
    ssize_t answered = recv(udp, text, sizeof text, 0);
    if (answered < 0) fail("recv");
    printf("udp=%.*s\n", (int)answered, text);

    serve(count > 1 ? words[1] : "");
}
