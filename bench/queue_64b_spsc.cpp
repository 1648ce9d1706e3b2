// boost::lockfree::spsc_queue, for one producer and one consumer, with 64-byte records: arguments as of queue_64b.

#if __has_include(<boost/lockfree/spsc_queue.hpp>)

#include <boost/lockfree/spsc_queue.hpp>

#include "lock_free.hpp"

namespace {

class item_queue {
 public:
  bool try_push(const bench::item& item) { return queue_.push(item); }
  bool try_pop(bench::item& item) { return queue_.pop(item); }

 private:
  boost::lockfree::spsc_queue<bench::item, boost::lockfree::capacity<bench::lock_free_places>> queue_;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_lock_free<item_queue>(argc, argv); }

#else

#include "processes.hpp"

int main() {
  std::fprintf(stderr, "built without Boost.Lockfree; on Debian and Ubuntu: apt-get install libboost-dev\n");
  return bench::not_available;
}

#endif
