// Prints for each name whether it is found, and what it is called in full.
#include <netdb.h>
#include <stdio.h>

int main(int count, char **names) {
  for (int i = 1; i < count; i++) {
    struct addrinfo *found, hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    if (getaddrinfo(names[i], 0, &hints, &found)) {
      printf("%s none\n", names[i]);
      continue;
    }
    printf("%s %s\n", names[i], found->ai_canonname);
    freeaddrinfo(found);
  }
}
