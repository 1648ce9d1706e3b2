// Boost.Interprocess message_queue with 64-byte records between two processes: as queue_64b.cpp.
//
//     queue_64b_boost one_way CAPACITY COUNT
//     queue_64b_boost round_trip COUNT

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)

#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <string>

#include "two_processes.hpp"

namespace {

using boost::interprocess::message_queue;

/// Made under a name of its own, which is given up at once: a forked child needs none.
class item_queue {
 public:
  item_queue(const char* label, std::size_t capacity) : item_queue(name(label), capacity) {}

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

  static std::string name(const char* label) { return "shoal-bench-" + std::to_string(::getpid()) + "-" + label; }

  message_queue queue_;
};

double one_way(std::size_t capacity, std::size_t count) {
  item_queue queue("items", capacity);
  const auto consume = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      bench::check(queue.pop(), i);
    }
  };
  const auto produce = [&] {
    bench::item item{};
    for (; item.number < count; ++item.number) {
      queue.push(item);
    }
  };
  return bench::seconds_together(consume, produce);
}

double round_trip(std::size_t count) {
  item_queue there("there", 1000);
  item_queue back("back", 1000);
  const auto ask = [&] {
    bench::item item{};
    for (; item.number < count; ++item.number) {
      there.push(item);
      bench::check(back.pop(), item.number);
    }
  };
  const auto answer = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      back.push(there.pop());
    }
  };
  return bench::seconds_together(ask, answer);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what[0] == "one_way" && what.size() == 2) {
      return one_way(std::stoul(std::string(what[1])), count);
    }
    if (what[0] == "round_trip") {
      return round_trip(count);
    }
    throw std::invalid_argument("expected one_way CAPACITY or round_trip");
  });
}

#else

#include <cstdio>

#include "two_processes.hpp"

int main() {
  std::fprintf(stderr, "built without Boost.Interprocess; on Debian and Ubuntu: apt-get install libboost-dev\n");
  return bench::not_available;
}

#endif
