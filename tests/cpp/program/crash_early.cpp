// A program that, executed as a process, ends before it comes to its shoal::runtime.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "shoal/process.hpp"
#include "shoal/runtime.hpp"

int main() {
  if (std::getenv("SHOAL_PROCESS") != nullptr) {
    return 7;
  }
  const shoal::runtime runtime;
  for (const shoal::start_method method : {shoal::start_method::spawn, shoal::start_method::forkserver}) {
    try {
      // More than the socket takes before somebody reads.
      shoal::process child(
          shoal::process_options{.method = method}, [](const std::string& text) { return text.empty() ? 0 : 1; },
          std::string(10'000'000, 'x'));
      child.join();
    } catch (const std::exception& error) {
      std::puts(error.what());
    }
  }
}
