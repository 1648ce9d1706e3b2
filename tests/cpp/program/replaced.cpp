// A program whose file is replaced while it runs: argv[1] is put in its place.

#include <cstdio>
#include <filesystem>

#include "shoal/process.hpp"
#include "shoal/runtime.hpp"

int main(int argc, char** argv) {
  const shoal::runtime runtime;
  std::puts("main");
  if (argc == 2) {
    std::filesystem::rename(argv[1], argv[0]);
  }
  for (const shoal::start_method method : {shoal::start_method::spawn, shoal::start_method::forkserver}) {
    shoal::process child(
        shoal::process_options{.method = method}, [](int value) { return value + 1; }, 41);
    std::printf("%d\n", child.join().code());
  }
}
