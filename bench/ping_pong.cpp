// What a round trip between two processes takes that no library can save: the bound for queue.cpp.64B.roundtrip.
//
//     ping_pong futex COUNT          each sleeps on a futex until the other wakes it
//     ping_pong cache_line COUNT     each watches a word until the other changes it

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdint>

#include "two_processes.hpp"

namespace {

/// Whose turn it is: counts the turns, even ones ours, odd ones theirs. Wraps around.
using turn = std::atomic<std::uint32_t>;

long futex(turn& word, int operation, std::uint32_t value) {
  return ::syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

template <class Await, class Pass>
double round_trip(std::size_t count, Await await, Pass pass) {
  auto& current = bench::make_shared<turn>();
  const auto play = [&](std::uint32_t own_turn) {
    for (std::size_t i = 0; i < count; ++i, own_turn += 2) {
      await(current, own_turn);
      current.store(own_turn + 1, std::memory_order_release);
      pass(current);
    }
  };
  const auto ours = [&] {
    play(0);
    await(current, static_cast<std::uint32_t>(2 * count));
  };
  return bench::seconds_together(ours, [&] { play(1); });
}

double with_futex(std::size_t count) {
  const auto await = [](turn& current, std::uint32_t awaited) {
    for (std::uint32_t seen = current.load(std::memory_order_acquire); seen != awaited;
         seen = current.load(std::memory_order_acquire)) {
      futex(current, FUTEX_WAIT, seen);
    }
  };
  return round_trip(count, await, [](turn& current) { futex(current, FUTEX_WAKE, INT_MAX); });
}

double with_cache_line(std::size_t count) {
  const auto await = [](turn& current, std::uint32_t awaited) {
    while (current.load(std::memory_order_acquire) != awaited) {
    }
  };
  return round_trip(count, await, [](turn&) {});
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::usable_cpus().size() < 2) {
    std::fprintf(stderr, "needs two processors\n");
    return bench::not_available;
  }
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what[0] == "futex") {
      return with_futex(count);
    }
    if (what[0] == "cache_line") {
      return with_cache_line(count);
    }
    throw std::invalid_argument("expected futex or cache_line");
  });
}
