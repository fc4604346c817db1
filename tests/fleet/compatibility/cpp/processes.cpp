#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

int main() {
    std::FILE* pipe = popen("echo $((6 * 7))", "r");
    char line[16] = "";
    if (pipe == nullptr || std::fgets(line, sizeof line, pipe) == nullptr) return 2;
    const int closed = pclose(pipe);
    const int status = std::system("exit 3");
    int ends[2];
    if (::pipe(ends) != 0) return 3;
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        execlp("echo", "echo", "child", nullptr);
        _exit(127);
    }
    close(ends[1]);
    char word[16] = "";
    const auto count = read(ends[0], word, sizeof word - 1);
    int ended = 0;
    waitpid(child, &ended, 0);
    if (std::string(line) != "42\n" || closed != 0 || WEXITSTATUS(status) != 3) return 1;
    if (count != 6 || std::string(word) != "child\n" || ended != 0) return 4;
    std::cout << "works" << std::endl;
}
