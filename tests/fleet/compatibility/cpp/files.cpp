#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <unistd.h>

namespace fs = std::filesystem;

int main() {
    fs::create_directories("a/b");
    std::ofstream("a/b/c") << "text";
    fs::rename("a/b/c", "a/moved");
    fs::create_hard_link("a/moved", "other");
    fs::create_symlink("other", "link");
    std::string text;
    std::ifstream("link") >> text;
    int seen = 0;
    for (const auto& entry : fs::recursive_directory_iterator("a")) seen += entry.exists();
    std::string place = (fs::temp_directory_path() / "xXXXXXX").string();
    const int descriptor = mkstemp(place.data());
    if (descriptor < 0 || write(descriptor, "x", 1) != 1) return 2;
    if (text != "text" || seen != 2 || fs::file_size("other") != 4 || fs::remove_all("a") != 3) return 1;
    std::cout << "works" << std::endl;
}
