/* The client of tests/warm.py: hands its folder, arguments, environment and files to the server, and leaves with the code of the command.
 * In C, because a Python that does the same takes as long as the command. SOCKET is the path of the server's socket. */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static char *put(char *at, const char *text) { return stpcpy(at, text) + 1; }

int main(int argc, char **argv) {
    char folder[PATH_MAX], count[16];
    if (getcwd(folder, sizeof folder) == NULL) return 137;
    snprintf(count, sizeof count, "%d", argc - 1);
    size_t size = strlen(folder) + strlen(count) + 2;
    for (char **word = argv + 1; *word; word++) size += strlen(*word) + 1;
    for (char **word = environ; *word; word++) size += strlen(*word) + 1;
    char *order = malloc(size), *at = put(put(order, folder), count);
    for (char **word = argv + 1; *word; word++) at = put(at, *word);
    for (char **word = environ; *word; word++) at = put(at, *word);

    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
    int server = socket(AF_UNIX, SOCK_STREAM, 0), files[] = {0, 1, 2};
    if (connect(server, (struct sockaddr *)&address, sizeof address)) return 137;
    unsigned char length[8], code;
    for (int byte = 0; byte < 8; byte++) length[byte] = (unsigned char)((unsigned long long)size >> (56 - 8 * byte));
    union { struct cmsghdr aligned; char room[CMSG_SPACE(sizeof files)]; } control = {0};
    struct iovec first = {length, sizeof length};
    struct msghdr message = {.msg_iov = &first, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof files);
    memcpy(CMSG_DATA(header), files, sizeof files);
    if (sendmsg(server, &message, 0) != sizeof length) return 137;
    for (ssize_t sent; size; order += sent, size -= (size_t)sent)
        if ((sent = write(server, order, size)) <= 0) return 137;
    return read(server, &code, 1) == 1 ? code : 137;
}
