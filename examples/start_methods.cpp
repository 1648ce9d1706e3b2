// Processes by each start method: with arguments, a queue, settings, a result, a failure and a request to stop.
//
//     start_methods [TEXT]

#include <chrono>
#include <exception>
#include <functional>
#include <iostream>
#include <map>
#include <shoal/async.hpp>
#include <shoal/jprocess.hpp>
#include <shoal/process.hpp>
#include <shoal/queue.hpp>
#include <shoal/runtime.hpp>
#include <stdexcept>
#include <string>

namespace {

// Functions for processes are ordinary ones. What is large or goes on for long comes through a queue.
void count_letters(char letter, shoal::queue<std::string>& words, shoal::queue<int> counts) {
  int count = 0;
  for (const std::string& word : words) {
    for (const char each : word) {
      count += each == letter ? 1 : 0;
    }
  }
  counts.push(count);
}

std::map<char, int> histogram(const std::string& text) {
  std::map<char, int> letters;
  for (const char each : text) {
    ++letters[each];
  }
  return letters;
}

void tick(const shoal::stop_token& stop, shoal::queue<int>& ticks) {
  while (!stop.wait_for(std::chrono::milliseconds(1))) {
    ticks.push(1);
  }
}

void run(const shoal::process_options& options, const std::string& text) {
  shoal::queue<std::string> words;
  shoal::queue<int> counts;
  shoal::process counter(options, count_letters, 'a', std::ref(words), std::ref(counts));
  words.push(text);
  words.push(text);
  words.close();
  std::cout << "  " << counter.name() << " counted " << counts.pop() << " and " << to_string(counter.join()) << '\n';

  shoal::future<std::map<char, int>> letters = shoal::async(options, histogram, text);
  std::cout << "  " << letters.get().size() << " different letters\n";

  shoal::process failing(
      options, [](int row) { throw std::out_of_range("no row " + std::to_string(row)); }, 7);
  try {
    failing.join();
  } catch (const shoal::remote_error& error) {
    std::cout << "  " << error.type() << ": " << error.message() << '\n';
  }

  shoal::queue<int> ticks;
  {
    const shoal::jprocess ticker(options, tick, std::ref(ticks));
    static_cast<void>(ticks.pop());
  }  // asked to stop, and joined
  std::cout << "  the ticker has ended\n";
}

}  // namespace

int main(int argc, char** argv) try {
  const shoal::runtime runtime;  // first of all: in a process of this program it does not return
  const std::string text = argc > 1 ? argv[1] : "a process is a program in execution";
  for (const auto& [method, name] :
       std::map<shoal::start_method, std::string>{{shoal::start_method::fork, "fork"},
                                                  {shoal::start_method::spawn, "spawn"},
                                                  {shoal::start_method::forkserver, "forkserver"}}) {
    std::cout << name << ":\n";
    shoal::process_options options{.method = method, .name = "counter", .daemon = true};
    options.nice = 1;
    run(options, text);
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
