#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

namespace fs = std::filesystem;

int main() {
    fs::create_directories("a/b");
    std::ofstream("a/b/c") << "text";
    // The library makes copies that only their owner may write, and gives them their mode then.
    fs::copy("a", "z", fs::copy_options::recursive);
    fs::copy_file("z/b/c", "copy", fs::copy_options::overwrite_existing);
    fs::permissions("copy", fs::perms::owner_read);
    std::string text;
    std::ifstream("copy") >> text;
    if (text != "text" || fs::status("copy").permissions() != fs::perms::owner_read) return 1;
    std::cout << "works" << std::endl;
}
