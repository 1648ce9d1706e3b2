#pragma once

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__clang__)
#define SHOAL_BENCH_COMPILER "clang " __clang_version__
#else
#define SHOAL_BENCH_COMPILER "gcc " __VERSION__
#endif

/// What the C++ programs of the benchmarks share. Each is started as PROGRAM WHAT... COUNT, does WHAT so many times and
/// prints the seconds that took, or the amount that was asked for; bench/measuring.py runs them.
namespace bench {

/// The status of a program that lacks what it needs; it says on standard error what that is.
inline constexpr int not_available = 77;

using clock = std::chrono::steady_clock;

inline double seconds_since(clock::time_point begin) {
  return std::chrono::duration<double>(clock::now() - begin).count();
}

/// Memory that children share, never unmapped: the program is over soon enough.
inline void* map_shared(std::size_t size) {
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::system_error(errno, std::system_category(), "mapping shared memory");
  }
  return memory;
}

/// An object in such memory.
template <class T>
T& make_shared() {
  return *new (map_shared(sizeof(T))) T();
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

/// A child, and which of the usable processors it is bound to.
struct child {
  std::size_t processor;
  std::function<void()> work;
};

/// Runs `ours` in this process, bound to the first usable processor, and the children's work in children.
/// @return the seconds from when all were ready until all were done.
inline double seconds_together(const std::function<void()>& ours, std::span<const child> children) {
  struct progress {
    std::atomic<std::size_t> ready;
    std::atomic<std::size_t> done;
  };
  auto& shared = make_shared<progress>();
  const auto wait_for_all = [](const std::atomic<std::size_t>& counted, std::size_t all) {
    while (counted.load() < all) {
      ::sched_yield();
    }
  };
  std::vector<pid_t> started;
  for (const child& each : children) {
    const pid_t pid = ::fork();
    if (pid < 0) {
      throw std::system_error(errno, std::system_category(), "forking");
    }
    if (pid == 0) {
      stay_on(each.processor);
      shared.ready.fetch_add(1);
      wait_for_all(shared.ready, children.size() + 1);
      try {
        each.work();
      } catch (const std::exception& failure) {
        std::fprintf(stderr, "%s\n", failure.what());
        ::_exit(1);
      }
      shared.done.fetch_add(1);
      ::_exit(0);
    }
    started.push_back(pid);
  }
  // A child that fails leaves this process waiting: then bench/measuring.py ends it. What it printed is shown.
  stay_on(0);
  shared.ready.fetch_add(1);
  wait_for_all(shared.ready, children.size() + 1);
  const auto begin = clock::now();
  ours();
  wait_for_all(shared.done, children.size());
  const double taken = seconds_since(begin);
  for (const pid_t pid : started) {
    int status = 0;
    if (::waitpid(pid, &status, 0) != pid || status != 0) {
      throw std::runtime_error("another process failed");
    }
  }
  return taken;
}

/// The same with one child, on the second processor.
inline double seconds_together(const std::function<void()>& ours, std::function<void()> theirs) {
  const child other{1, std::move(theirs)};
  return seconds_together(ours, std::span(&other, 1));
}

inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// What `count` trips take if each takes as long as the median one. Not the sum: a trip during which a process lost its
/// processor lasts as long as a thousand others.
template <class Trip>
double seconds_of_median_trip(std::size_t count, Trip trip) {
  // Looking at the clock takes a quarter of the shortest trip, so it is done for many of them at once.
  constexpr std::size_t at_once = 100;
  std::vector<double> each;
  for (std::size_t done = 0; done < count;) {
    const std::size_t some = std::min(at_once, count - done);
    const auto begin = clock::now();
    for (const std::size_t end = done + some; done < end; ++done) {
      trip(done);
    }
    each.push_back(seconds_since(begin) / static_cast<double>(some));
  }
  return median(std::move(each)) * static_cast<double>(count);
}

inline std::size_t number(std::string_view text) { return std::stoul(std::string(text)); }

/// main() of a program: `measure(what, count)` returns what is printed.
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
  std::printf("%.9f\n", measure(std::span(arguments).first(arguments.size() - 1), number(arguments.back())));
  return 0;
} catch (const std::exception& failure) {
  std::fprintf(stderr, "%s: %s\n", argv[0], failure.what());
  return 1;
}

}  // namespace bench
