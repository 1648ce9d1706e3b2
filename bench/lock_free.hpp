#pragma once

#include <memory>

#include "records_64b.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {

/// How many items the lock-free queues have places for: they have to have a bound, known when compiled.
inline constexpr std::size_t lock_free_places = 1024;

/// A queue that cannot wait, put into memory that children share, for callers that try until it works.
template <class Queue>
class retrying {
 public:
  void push(const item& item) {
    while (!queue_.try_push(item)) {
      pause();
    }
  }

  item pop() {
    item found;
    while (!queue_.try_pop(found)) {
      pause();
    }
    return found;
  }

 private:
  // Tells the processor that this is a loop of waiting.
  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
  }

  Queue& queue_ = make_shared<Queue>();
};

/// main() of a program that measures such a queue. Whoever tries again and again needs a processor.
template <class Queue>
int run_lock_free(int argc, char** argv) {
  if (usable_cpus().size() < 2) {
    std::fprintf(stderr, "needs two processors\n");
    return not_available;
  }
  return run_64b(argc, argv, [](std::size_t capacity) {
    if (capacity != 0 && capacity != lock_free_places) {
      throw std::invalid_argument("its bound is " + std::to_string(lock_free_places));
    }
    return std::make_unique<retrying<Queue>>();
  });
}

}  // namespace bench
