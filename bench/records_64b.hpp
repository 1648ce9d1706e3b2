#pragma once

#include <sys/resource.h>

#include <array>

#include "processes.hpp"

/// The work of the cases queue.cpp.64B.*, the same for every queue: a Queue has `push(const item&)` and `item pop()`,
/// which wait, and works in the children of the process that made it.
namespace bench {

/// The record that is sent: of one cache line, as the names of the cases say.
struct item {
  std::size_t number;
  std::size_t producer;
  clock::duration sent;       // when, where that is measured
  clock::duration travelled;  // how long it took the other way
  std::byte rest[32];
};
static_assert(sizeof(item) == 64);

inline constexpr std::size_t most_producers = 4;

/// Of a consumer, which gets what was sent, in the order of each producer, or this was no measurement.
class order_check {
 public:
  explicit order_check(bool only_consumer) : only_consumer_(only_consumer) {}

  void operator()(const item& found) {
    std::size_t& expected = next_[found.producer % most_producers];
    if (only_consumer_ ? found.number != expected : found.number < expected) {
      throw std::runtime_error("item " + std::to_string(found.number) + " came, expected " + std::to_string(expected));
    }
    expected = found.number + 1;
  }

 private:
  bool only_consumer_;
  std::array<std::size_t, most_producers> next_{};
};

/// `count` items through one queue, in equal shares. This process is the first consumer. Consumers are on the first
/// processor, producers on the second.
template <class Queue>
double one_way(Queue& queue, std::size_t producers, std::size_t consumers, std::size_t count) {
  if (producers < 1 || producers > most_producers || consumers < 1) {
    throw std::invalid_argument("so many producers and consumers were not foreseen");
  }
  const auto share = [count](std::size_t index, std::size_t of) { return count / of + (index < count % of ? 1 : 0); };
  const auto consume = [&](std::size_t index) {
    order_check check(consumers == 1);
    for (std::size_t left = share(index, consumers); left > 0; --left) {
      check(queue.pop());
    }
  };
  const auto produce = [&](std::size_t index) {
    item item{};
    item.producer = index;
    for (const std::size_t end = share(index, producers); item.number < end; ++item.number) {
      queue.push(item);
    }
  };
  std::vector<child> children;
  for (std::size_t i = 0; i < producers; ++i) {
    children.push_back({1, [&produce, i] { produce(i); }});
  }
  for (std::size_t i = 1; i < consumers; ++i) {
    children.push_back({0, [&consume, i] { consume(i); }});
  }
  return seconds_together([&consume] { consume(0); }, children);
}

/// An item there and another back, `count` times, by processes that do nothing else. @return  of the median trip.
template <class Queue>
double round_trip(Queue& there, Queue& back, std::size_t count) {
  double taken = 0;
  const auto ask = [&] {
    order_check check(true);
    item item{};
    taken = seconds_of_median_trip(count, [&](std::size_t i) {
      item.number = i;
      there.push(item);
      check(back.pop());
    });
  };
  const auto answer = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      back.push(there.pop());
    }
  };
  seconds_together(ask, answer);
  return taken;
}

/// The same between processes that sleep: whoever has got an item keeps it longer than anybody would stay awake for.
/// Only the way counts, from before the push in one process until after the pop in the other; so what a pause takes
/// does not. @return  of the median trip.
/// @throws std::runtime_error  a process slept less often than it waited: this was no measurement.
template <class Queue>
double round_trip_asleep(Queue& there, Queue& back, std::size_t count) {
  const auto pause = [] {
    constexpr auto longer_than_any_spin = std::chrono::microseconds(200);
    // Not asleep: a processor that has nothing to do is slow to come back, and whose fault that is would be unclear.
    for (const auto end = clock::now() + longer_than_any_spin; clock::now() < end;) {
    }
  };
  const auto times_slept = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::size_t>(usage.ru_nvcsw);
  };
  const auto expect_to_have_slept = [&times_slept, count](std::size_t before) {
    if (times_slept() - before < count - count / 10) {
      throw std::runtime_error("a process did not sleep each time");
    }
  };
  const auto now = [] { return clock::now().time_since_epoch(); };
  double taken = 0;
  const auto ask = [&] {
    const std::size_t before = times_slept();
    std::vector<double> trips;
    for (std::size_t i = 0; i < count; ++i) {
      pause();
      item item{};
      item.number = i;
      item.sent = now();
      there.push(item);
      item = back.pop();
      const std::chrono::duration<double> trip = item.travelled + (now() - item.sent);
      trips.push_back(trip.count());
    }
    expect_to_have_slept(before);
    taken = median(std::move(trips)) * static_cast<double>(count);
  };
  const auto answer = [&] {
    const std::size_t before = times_slept();
    for (std::size_t i = 0; i < count; ++i) {
      item item = there.pop();
      item.travelled = now() - item.sent;
      pause();
      item.sent = now();
      back.push(item);
    }
    expect_to_have_slept(before);
  };
  seconds_together(ask, answer);
  return taken;
}

/// main() of a program that does all of it: Make(capacity) returns a queue. WHAT is one_way CAPACITY PRODUCERS
/// CONSUMERS, round_trip or asleep.
template <class Make>
int run_64b(int argc, char** argv, Make make) {
  return run(argc, argv, [&make](auto what, std::size_t count) {
    if (what[0] == "one_way" && what.size() == 4) {
      auto queue = make(number(what[1]));
      return one_way(*queue, number(what[2]), number(what[3]), count);
    }
    if (what.size() == 1 && (what[0] == "round_trip" || what[0] == "asleep")) {
      auto there = make(0);
      auto back = make(0);
      return what[0] == "asleep" ? round_trip_asleep(*there, *back, count) : round_trip(*there, *back, count);
    }
    throw std::invalid_argument("expected one_way CAPACITY PRODUCERS CONSUMERS, round_trip or asleep");
  });
}

}  // namespace bench
