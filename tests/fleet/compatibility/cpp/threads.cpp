#include <atomic>
#include <condition_variable>
#include <future>
#include <iostream>
#include <mutex>
#include <numeric>
#include <queue>
#include <thread>
#include <vector>

int main() {
    std::atomic<int> total{0};
    std::vector<std::thread> threads;
    for (int n = 0; n < 8; ++n) threads.emplace_back([&] { for (int i = 0; i < 1000; ++i) ++total; });
    for (auto& thread : threads) thread.join();

    std::mutex mutex;
    std::condition_variable ready;
    std::queue<int> numbers;
    std::thread producer([&] {
        for (int n = 1; n <= 10; ++n) {
            std::lock_guard<std::mutex> guard(mutex);
            numbers.push(n);
            ready.notify_one();
        }
    });
    int sum = 0;
    for (int n = 0; n < 10; ++n) {
        std::unique_lock<std::mutex> lock(mutex);
        ready.wait(lock, [&] { return !numbers.empty(); });
        sum += numbers.front();
        numbers.pop();
    }
    producer.join();

    auto half = std::async(std::launch::async, [] { return 21; });
    auto failing = std::async(std::launch::async, []() -> int { throw 7; });
    int caught = 0;
    try { failing.get(); } catch (int value) { caught = value; }
    if (total != 8000 || sum != 55 || half.get() != 21 || caught != 7) return 1;
    std::cout << "works" << std::endl;
}
