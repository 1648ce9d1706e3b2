// What the C++ pool does in a second, with tasks that do nothing.
//
//     pool one_by_one COUNT     submit, one after the other, by one thread; two workers; then all results
//     pool map COUNT            map with chunks of one item; two workers
//     pool round_trip COUNT     submit and get, one after the other; one worker
//     pool dispatch COUNT       from the call of submit to the beginning of the function in a worker that is awake; the
//                               median, printed as if it were the time of all

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "processes.hpp"
#include "shoal/pool.hpp"

namespace {

int same(int value) { return value; }

std::int64_t now() { return bench::clock::now().time_since_epoch().count(); }

double one_by_one(std::size_t count) {
  shoal::pool pool(2);
  pool.map(same, std::vector<int>(1000), 1);
  std::vector<shoal::task<int>> tasks;
  tasks.reserve(count);
  const auto begin = bench::clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    tasks.push_back(pool.submit(same, static_cast<int>(i)));
  }
  for (shoal::task<int>& each : tasks) {
    each.get();
  }
  return bench::seconds_since(begin);
}

double map(std::size_t count) {
  shoal::pool pool(2);
  const std::vector<int> items(count);
  pool.map(same, std::vector<int>(1000), 1);
  const auto begin = bench::clock::now();
  pool.map(same, items, 1);
  return bench::seconds_since(begin);
}

double round_trip(std::size_t count) {
  shoal::pool pool(1);
  pool.submit(same, 0).get();
  const auto begin = bench::clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    pool.submit(same, static_cast<int>(i)).get();
  }
  return bench::seconds_since(begin);
}

double dispatch(std::size_t count) {
  shoal::pool pool(1);
  pool.submit(now).get();
  std::vector<std::int64_t> latencies;
  latencies.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t begin = now();
    latencies.push_back(pool.submit(now).get() - begin);
  }
  const auto median = latencies.begin() + static_cast<std::ptrdiff_t>(count / 2);
  std::ranges::nth_element(latencies, median);
  return static_cast<double>(*median) * 1e-9 * static_cast<double>(count);
}

double by_name(std::string_view what, std::size_t count) {
  if (what == "one_by_one") {
    return one_by_one(count);
  }
  if (what == "map") {
    return map(count);
  }
  if (what == "round_trip") {
    return round_trip(count);
  }
  if (what == "dispatch") {
    return dispatch(count);
  }
  throw std::invalid_argument("expected one of those that are listed in pool.cpp");
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, [](auto what, std::size_t count) { return by_name(what[0], count); });
}
