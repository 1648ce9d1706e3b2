// Boost.Interprocess message_queue with 64-byte records between processes: arguments as of queue_64b.

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)

#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <memory>
#include <string>

#include "records_64b.hpp"

namespace {

using boost::interprocess::message_queue;

/// Made under a name of its own, which is given up at once: a forked child needs none.
class item_queue {
 public:
  explicit item_queue(std::size_t capacity) : item_queue(new_name(), capacity) {}

  void push(const bench::item& item) { queue_.send(&item, sizeof item, 0); }

  bench::item pop() {
    bench::item item;
    std::size_t size = 0;
    unsigned priority = 0;
    queue_.receive(&item, sizeof item, size, priority);
    return item;
  }

 private:
  item_queue(const std::string& name, std::size_t capacity)
      : queue_(boost::interprocess::create_only, name.c_str(), capacity, sizeof(bench::item)) {
    message_queue::remove(name.c_str());
  }

  static std::string new_name() {
    static int made = 0;
    return "shoal-bench-" + std::to_string(::getpid()) + "-" + std::to_string(++made);
  }

  message_queue queue_;
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_64b(argc, argv, [](std::size_t capacity) {
    constexpr std::size_t places = 1000;  // it has to have a bound
    return std::make_unique<item_queue>(capacity == 0 ? places : capacity);
  });
}

#else

#include <cstdio>

#include "processes.hpp"

int main() {
  std::fprintf(stderr, "built without Boost.Interprocess; on Debian and Ubuntu: apt-get install libboost-dev\n");
  return bench::not_available;
}

#endif
