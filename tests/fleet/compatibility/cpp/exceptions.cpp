#include <functional>
#include <iostream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Counted {
    static inline int alive = 0;
    Counted() { ++alive; }
    ~Counted() { --alive; }
};

int deep(int n) {
    Counted counted;
    if (n == 0) throw std::out_of_range("deep");
    return deep(n - 1) + 1;
}

int main() {
    std::string seen;
    try { deep(100); } catch (const std::logic_error& error) { seen = error.what(); }
    try {
        try { std::vector<int>().at(3); } catch (...) { std::throw_with_nested(std::runtime_error("outer")); }
    } catch (const std::exception& error) {
        seen += error.what();
        try { std::rethrow_if_nested(error); } catch (const std::out_of_range&) { seen += "inner"; }
    }
    std::exception_ptr carried;
    std::thread([&] { try { throw std::string("carried"); } catch (...) { carried = std::current_exception(); } }).join();
    try { std::rethrow_exception(carried); } catch (const std::string& word) { seen += word; }
    if (Counted::alive != 0 || seen != "deepouterinnercarried") return 1;
    std::cout << "works" << std::endl;
}
