// shoal::queue of 64-byte records between two processes.
//
//     queue_64b one_way CAPACITY COUNT     one pushes, the other pops
//     queue_64b round_trip COUNT           each pushes what the other pops, in turn
//     queue_64b made_with                  prints the compiler

#include <string>

#include "shoal/queue.hpp"
#include "two_processes.hpp"

namespace {

using item_queue = shoal::queue<bench::item>;

double one_way(std::size_t capacity, std::size_t count) {
  item_queue queue(capacity);
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
  item_queue there;
  item_queue back;
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
