// A program that its linker gave no build id. Starts itself by every method; succeeds if its function ran each time.

#include <cstdio>

#include "shoal/process.hpp"
#include "shoal/runtime.hpp"

namespace {

int answer(int question) { return question + 1; }

}  // namespace

int main() {
  const shoal::runtime runtime;
  for (const auto method : {shoal::start_method::fork, shoal::start_method::spawn, shoal::start_method::forkserver}) {
    shoal::process child(shoal::process_options{.method = method}, answer, 41);
    const shoal::exit_status status = child.join();
    if (status != shoal::exit_status::exited_with(42)) {
      std::fprintf(stderr, "method %d: %s\n", static_cast<int>(method), to_string(status).c_str());
      return 1;
    }
  }
}
