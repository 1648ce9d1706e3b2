// How soon a process wakes up that waits for many things, of which most are idle.
//
//     waiting wait_set|wait_any IDLE COUNT    from a push in one process until after the pop in the other, which waited
//                                             for that queue and IDLE other things, half of them queues, half processes
//
// Prints what COUNT of them take if each takes as long as the median one.

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "processes.hpp"
#include "shoal/queue.hpp"
#include "shoal/wait_any.hpp"
#include "shoal/wait_set.hpp"

namespace {

using nanoseconds = std::chrono::nanoseconds;

/// Things for which nothing happens.
class idle_things {
 public:
  explicit idle_things(std::size_t count) : queues_(count / 2) {
    while (processes_.size() < count - queues_.size()) {
      const long fd = ::syscall(SYS_pidfd_open, ::getpid(), 0);
      if (fd < 0) {
        throw std::system_error(errno, std::system_category(), "opening a pidfd");
      }
      processes_.push_back(static_cast<int>(fd));
    }
  }

  std::vector<shoal::waitable> all() {
    std::vector<shoal::waitable> all(queues_.begin(), queues_.end());
    all.insert(all.end(), processes_.begin(), processes_.end());
    return all;
  }

 private:
  std::vector<shoal::queue<int>> queues_;
  std::vector<int> processes_;  // this one, which does not end; open until it does
};

double wake_ups(bool by_set, std::size_t idle, std::size_t count) {
  idle_things things(idle);
  shoal::queue<std::int64_t> active;
  shoal::queue<int> awaited;
  std::vector<shoal::waitable> all = things.all();
  all.emplace_back(active);
  std::optional<shoal::wait_set> set;
  if (by_set) {
    set.emplace();
    for (const shoal::waitable& one : all) {
      set->add(one);
    }
  }
  std::vector<double> each;
  const auto wait = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      awaited.push(0);
      if (by_set ? set->wait().size() != 1 : shoal::wait_any(all).size() != 1) {
        throw std::runtime_error("something that is idle was reported");
      }
      const nanoseconds pushed(active.pop());
      each.push_back(std::chrono::duration<double>(bench::clock::now().time_since_epoch() - pushed).count());
    }
  };
  const auto wake = [&] {
    for (std::size_t i = 0; i < count; ++i) {
      (void)awaited.pop();
      // Until the other is asleep. Not asleep itself: a processor that has nothing to do is slow to come back.
      constexpr auto long_enough = std::chrono::microseconds(400);
      for (const auto end = bench::clock::now() + long_enough; bench::clock::now() < end;) {
      }
      active.push(nanoseconds(bench::clock::now().time_since_epoch()).count());
    }
  };
  bench::seconds_together(wait, wake);
  return bench::median(std::move(each)) * static_cast<double>(count);
}

}  // namespace

int main(int argc, char** argv) {
  if (bench::usable_cpus().size() < 2) {
    std::fprintf(stderr, "needs two processors\n");
    return bench::not_available;
  }
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what.size() != 2 || (what[0] != "wait_set" && what[0] != "wait_any")) {
      throw std::invalid_argument("expected wait_set or wait_any, and how many are idle");
    }
    return wake_ups(what[0] == "wait_set", bench::number(what[1]), count);
  });
}
