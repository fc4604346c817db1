// Tries to get out, harmlessly. Whoever started it looks from outside at what came of it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

std::string fact(const char* name) {
    const char* value = std::getenv(name);
    if (value == nullptr) throw std::runtime_error(name);
    return value;
}

void read_out(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (file) std::cout << file.rdbuf() << std::endl;
    std::cout.clear();
}

void connect_and_tell(int port, const std::string& word) {
    const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection < 0) return;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<unsigned short>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        send(connection, word.data(), word.size(), MSG_NOSIGNAL);
    }
    close(connection);
}

void leave_somebody_behind() {
    if (fork() != 0) return;
    setsid();
    for (int stream = 0; stream < 3; stream++) close(stream);
    sleep(20);
    _exit(0);
}

void tried(const char* name) { std::cout << "tried " << name << std::endl; }

void reach(const std::string& word) {
    const std::string secret_file = fact("SECRET_FILE");
    const std::string descriptor = fact("SERVER_DESCRIPTOR");
    const int server = std::stoi(fact("SERVER_PID"));
    const int port = std::stoi(fact("LISTENER_PORT"));
    const std::string processes = "/proc/" + std::to_string(server) + "/";

    read_out(secret_file);
    tried("files");
    read_out(processes + "environ");
    read_out(processes + "fd/" + descriptor);
    tried("process_secrets");
    connect_and_tell(port, word);
    tried("network");
    kill(server, SIGURG);
    tried("signals");
    leave_somebody_behind();
    tried("clean_up");
}

void memory(std::size_t megabytes) {
    tried("memory");
    std::vector<std::unique_ptr<char[]>> blocks;
    while (blocks.size() < megabytes) {
        blocks.emplace_back(new char[1 << 20]);
        std::memset(blocks.back().get(), 1, 1 << 20);
    }
    sleep(2);
    std::cout << "kept " << blocks.size() << std::endl;
}

int main(int, char** arguments) {
    if (std::string(arguments[1]) == "memory") {
        memory(std::stoul(arguments[2]));
    } else {
        reach(arguments[2]);
    }
}
