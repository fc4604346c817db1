// What a program can do to its executor, by the first argument.
#include <bits/stdc++.h>
#include <csignal>
#include <sys/stat.h>
#include <unistd.h>

using namespace std;

static string input() {
    return string(istreambuf_iterator<char>(cin), istreambuf_iterator<char>());
}

static void write_files() {
    mkdir("out", 0700);
    ofstream("out/a.txt") << "größe\n";
    ofstream("out/b.bin", ios::binary).write("\xff\x00\x01", 3);
    if (symlink("/etc/passwd", "out/link.txt") != 0) abort();
    if (link("/etc/passwd", "out/hard.txt") == 0) cerr << "linked\n";
    if (mkfifo("out/fifo.txt", 0600) != 0) abort();
    cout << "written" << endl;
}

int main(int count, char** arguments) {
    ios::sync_with_stdio(false);
    vector<string> rest(arguments + 1, arguments + count);
    const string verb = rest.at(0);
    rest.erase(rest.begin());
    if (verb == "count") {
        cout << input().size() << "\n";
    } else if (verb == "echo") {
        cout << input();
    } else if (verb == "nothing") {
        cout << "ok\n";
    } else if (verb == "exit") {
        return stoi(rest[0]);
    } else if (verb == "signal") {
        signal(stoi(rest[0]), SIG_DFL);
        kill(getpid(), stoi(rest[0]));
        sleep(60);
    } else if (verb == "spin") {
        for (volatile long i = 0;; i = i + 1) {}
    } else if (verb == "sleep") {
        cout << "asleep" << endl;
        this_thread::sleep_for(chrono::duration<double>(stod(rest[0])));
        cout << "awake\n";
    } else if (verb == "hog") {
        vector<string> held;
        for (int i = 0; i < 2048; i++) held.emplace_back(1 << 20, 'x');
        cout << "survived " << held.size() << "\n";
    } else if (verb == "giant") {
        vector<char> held(3ul << 30, 'x');
        cout << "survived " << held.size() << "\n";
    } else if (verb == "print") {
        const string line = string(1023, 'x') + "\n";
        for (int i = 0; i < stoi(rest[0]) / 1024; i++) cout << line;
    } else if (verb == "bytes") {
        cout.write("\xff\xfe\x00\x41\x00\xc3\x28\xf0\x9f\x98\x80\x0a", 12);
    } else if (verb == "env") {
        for (const auto& name : rest) {
            const char* value = getenv(name.c_str());
            cout << (value ? value : "(unset)") << "\n";
        }
    } else if (verb == "args") {
        for (const auto& argument : rest) cout << "[" << argument << "]\n";
    } else if (verb == "write") {
        write_files();
    } else if (verb == "hold") {
        const int status = system("setsid sleep 300 & (sleep 300 &)");
        cout << (status == 0 ? "done\n" : "failed\n");
    } else if (verb == "flush") {
        cout << "first" << endl;
        this_thread::sleep_for(2s);
        cout << "second" << endl;
        cerr << "problem\n";
    }
}
