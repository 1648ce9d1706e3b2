#pragma once

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#if defined(__clang__)
#define SHOAL_BENCH_COMPILER "clang " __clang_version__
#else
#define SHOAL_BENCH_COMPILER "gcc " __VERSION__
#endif

/// What the C++ programs of the benchmarks share. Each is started as PROGRAM WHAT... COUNT, does WHAT so many times and
/// prints the seconds that took; bench/measuring.py runs them.
namespace bench {

/// The status of a program that lacks what it needs; it says on standard error what that is.
inline constexpr int not_available = 77;

/// The record that is sent: of one cache line, as the names of the cases say.
struct item {
  std::size_t number;
  std::byte rest[56];
};
static_assert(sizeof(item) == 64);

/// An object in memory that children share, never unmapped: the program is over soon enough.
template <class T>
T& make_shared() {
  void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::system_error(errno, std::system_category(), "mapping shared memory");
  }
  return *new (memory) T();
}

inline std::vector<int> usable_cpus() {
  std::vector<int> usable;
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) {
        usable.push_back(cpu);
      }
    }
  }
  return usable;
}

/// Binds this process to the given one of the usable processors, if there are as many.
inline void stay_on(std::size_t which) {
  const std::vector<int> usable = usable_cpus();
  if (which < usable.size()) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(usable[which], &only);
    ::sched_setaffinity(0, sizeof only, &only);
  }
}

/// Runs `theirs` in a child and `ours` in this process, on different processors if there are two.
/// @return the seconds from when both were ready until `ours` was done.
//
// Not inlined: a function that only main() calls counts as one that runs once, and gcc compiles its loops to be small.
template <class Ours, class Theirs>
[[gnu::noinline]] double seconds_together(Ours ours, Theirs theirs) {
  auto& ready = make_shared<std::atomic<int>>();
  const auto wait_for_the_other = [&ready] {
    ready.fetch_add(1);
    while (ready.load() < 2) {
      ::sched_yield();
    }
  };
  const pid_t child = ::fork();
  if (child < 0) {
    throw std::system_error(errno, std::system_category(), "forking");
  }
  if (child == 0) {
    stay_on(1);
    wait_for_the_other();
    try {
      theirs();
    } catch (const std::exception& failure) {
      std::fprintf(stderr, "%s\n", failure.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  stay_on(0);
  wait_for_the_other();
  const auto begin = std::chrono::steady_clock::now();
  ours();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) {
    throw std::runtime_error("the other process failed");
  }
  return taken.count();
}

/// Of a consumer, which gets what was sent, in order, or this was no measurement.
inline void check(const item& found, std::size_t expected) {
  if (found.number != expected) {
    throw std::runtime_error("item " + std::to_string(found.number) + " came, expected " + std::to_string(expected));
  }
}

/// main() of a program: `measure(what, count)` returns seconds.
template <class Measure>
int run(int argc, char** argv, Measure measure) try {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  if (arguments.size() == 1 && arguments[0] == "made_with") {
#ifdef NDEBUG
    std::printf("%s\n", SHOAL_BENCH_COMPILER);
#else
    std::printf("%s, WITH ASSERTIONS: not a release build\n", SHOAL_BENCH_COMPILER);
#endif
    return 0;
  }
  if (arguments.size() < 2) {
    throw std::invalid_argument("expected what to do and how many times");
  }
  std::printf("%.9f\n", measure(std::span(arguments).first(arguments.size() - 1), std::stoul(argv[argc - 1])));
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "%s: %s\n", argv[0], failure.what());
  return 1;
}

}  // namespace bench
