#include <cstdio>
#include <iostream>

int main() {
    // The C library takes /tmp, whatever TMPDIR says.
    std::FILE* file = std::tmpfile();
    if (file == nullptr) {
        std::perror("tmpfile");
        return 1;
    }
    char line[8] = "";
    std::fputs("text", file);
    std::rewind(file);
    if (std::fgets(line, sizeof line, file) == nullptr) return 2;
    std::cout << "works" << std::endl;
}
