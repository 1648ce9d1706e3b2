// A program that forgot its shoal::runtime.

#include <cstdio>
#include <stdexcept>

#include "shoal/pool.hpp"
#include "shoal/process.hpp"

int main() {
  std::puts("main");
  for (const shoal::start_method method : {shoal::start_method::spawn, shoal::start_method::forkserver}) {
    try {
      shoal::process child(shoal::process_options{.method = method}, [] {});
      child.join();
    } catch (const std::logic_error& error) {
      std::puts(error.what());
    }
    try {
      const shoal::pool workers(1, {.method = method});
      std::puts("it has a pool");
    } catch (const std::logic_error&) {
      std::puts("no pool");
    }
  }
}
