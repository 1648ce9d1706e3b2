// atomic_queue with 64-byte records, in its form for one producer and one consumer: arguments as of queue_64b.

#if __has_include(<atomic_queue/atomic_queue.h>)

#include <algorithm>  // which its header needs and does not include

#include <atomic_queue/atomic_queue.h>

#include "lock_free.hpp"

namespace {

// AtomicQueue2 is the one for elements that are not atomic; the last of the four switches is SPSC, the others are as by
// default.
using item_queue = atomic_queue::AtomicQueue2<bench::item, bench::lock_free_places, true, true, false, true>;

}  // namespace

int main(int argc, char** argv) { return bench::run_lock_free<item_queue>(argc, argv); }

#else

#include "processes.hpp"

int main() {
  std::fprintf(stderr, "built without atomic_queue; on Debian and Ubuntu: apt-get install libatomic-queue-dev\n");
  return bench::not_available;
}

#endif
