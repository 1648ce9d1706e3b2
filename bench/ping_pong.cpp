// What a round trip between two processes takes that no library can save: the bounds for queue.cpp.64B.roundtrip.*.
//
//     ping_pong cache_line COUNT     each watches a word until the other changes it
//     ping_pong asleep COUNT         each sleeps on a futex until the other wakes it, long after it has gone to sleep

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>

#include "records_64b.hpp"

namespace {

double cache_line(std::size_t count) {
  // Counts the turns, even ones ours, odd ones theirs. Wraps around.
  using turn = std::atomic<std::uint32_t>;
  auto& current = bench::make_shared<turn>();
  const auto await = [&current](std::size_t awaited) {
    while (current.load(std::memory_order_acquire) != static_cast<std::uint32_t>(awaited)) {
    }
  };
  double taken = 0;
  const auto ours = [&] {
    taken = bench::seconds_of_median_trip(count, [&](std::size_t i) {
      current.store(static_cast<std::uint32_t>(2 * i + 1), std::memory_order_release);
      await(2 * i + 2);
    });
  };
  const auto theirs = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      await(2 * i + 1);
      current.store(static_cast<std::uint32_t>(2 * i + 2), std::memory_order_release);
    }
  };
  bench::seconds_together(ours, theirs);
  return taken;
}

/// Place for one item, and a word to sleep on: what a queue cannot do without, for two processes that take turns.
class mailbox {
 public:
  void push(const bench::item& item) {
    shared_.item = item;
    shared_.full.store(1, std::memory_order_release);
    futex(FUTEX_WAKE, 1);
  }

  bench::item pop() {
    while (shared_.full.load(std::memory_order_acquire) == 0) {
      futex(FUTEX_WAIT, 0);
    }
    shared_.full.store(0, std::memory_order_relaxed);
    return shared_.item;
  }

 private:
  struct alignas(64) place {
    bench::item item;
    std::atomic<std::uint32_t> full;
  };

  void futex(int operation, std::uint32_t value) {
    ::syscall(SYS_futex, &shared_.full, operation, value, nullptr, nullptr, 0);
  }

  place& shared_ = bench::make_shared<place>();
};

}  // namespace

int main(int argc, char** argv) {
  if (bench::usable_cpus().size() < 2) {
    std::fprintf(stderr, "needs two processors\n");
    return bench::not_available;
  }
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what[0] == "cache_line") {
      return cache_line(count);
    }
    if (what[0] == "asleep") {
      mailbox there;
      mailbox back;
      return bench::round_trip_asleep(there, back, count);
    }
    throw std::invalid_argument("expected cache_line or asleep");
  });
}
