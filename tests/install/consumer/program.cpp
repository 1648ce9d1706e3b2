// What a user's first program may look like: values through a queue from a child process, and work done by a pool.

#include <iostream>
#include <numeric>
#include <shoal/pool.hpp>
#include <shoal/process.hpp>
#include <shoal/queue.hpp>
#include <shoal/version.hpp>
#include <string>
#include <vector>

int main() {
  shoal::queue<std::string> words(2);
  shoal::process child([&] {
    for (const char* word : {"from", "another", "process"}) {
      words.push(word);
    }
    words.close();
  });
  std::string said;
  for (const std::string& word : words) {
    said += word + ' ';
  }
  const shoal::exit_status status = child.join();

  shoal::pool pool(2);
  const std::vector<int> squares = pool.map([](int value) { return value * value; }, std::vector<int>{1, 2, 3});
  const int sum = std::accumulate(squares.begin(), squares.end(), 0);

  std::cout << "shoal " << SHOAL_VERSION << ": " << said << sum << '\n';
  return status.success() && said == "from another process " && sum == 14 ? 0 : 1;
}
