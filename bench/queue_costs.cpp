// What a queue costs beside the time of one that is empty, alone and in use.
//
//     queue_costs unread LENGTH COUNT        seconds: so many numbers are pushed, then popped, until it were COUNT
//     queue_costs idle_queues QUEUES COUNT   seconds: records pushed and popped in a process with other, unused queues
//     queue_costs wakeups SECONDS            a second, of a process that waits in pop
//     queue_costs processor SECONDS          microseconds a second, of the same
//     queue_costs burst SIZE COUNT           megabytes that a queue holds after COUNT records of SIZE were in it at
//     once

#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <thread>

#include "records_64b.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/queue.hpp"

namespace {

double unread(std::size_t length, std::size_t count) {
  shoal::queue<std::uint64_t> queue;
  const auto begin = bench::clock::now();
  for (std::size_t done = 0; done < count; done += length) {
    for (std::size_t i = 0; i < length; ++i) {
      queue.push(i);
    }
    for (std::size_t i = 0; i < length; ++i) {
      if (queue.pop() != i) {
        throw std::runtime_error("the numbers came in another order");
      }
    }
  }
  return bench::seconds_since(begin);
}

double beside_idle_queues(std::size_t queues, std::size_t count) {
  // Each has descriptors of its own, more together than many a shell allows at first.
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &descriptors);

  std::vector<shoal::queue<bench::item>> idle(queues);
  for (auto& queue : idle) {
    queue.push({});  // used once, so that it has memory
    (void)queue.pop();
  }
  shoal::queue<bench::item> busy;
  return bench::one_way(busy, 1, 1, count);
}

/// A process that waits in pop for an item which does not come.
class waiting_process {
 public:
  waiting_process() : pid_(::fork()) {
    if (pid_ < 0) {
      throw std::system_error(errno, std::system_category(), "forking");
    }
    if (pid_ == 0) {
      (void)queue_.pop();
      ::_exit(1);
    }
    while (state() != 'S') {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  waiting_process(const waiting_process&) = delete;
  waiting_process& operator=(const waiting_process&) = delete;
  ~waiting_process() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  /// How often it has gone to sleep, which is once more than it has been woken.
  [[nodiscard]] double sleeps() const { return std::stod(status("voluntary_ctxt_switches:")); }

  [[nodiscard]] double processor_microseconds() const {
    clockid_t clock{};
    timespec used{};
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
      throw std::runtime_error("no clock of the process's processor time");
    }
    return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
  }

 private:
  [[nodiscard]] char state() const { return status("State:").at(0); }

  [[nodiscard]] std::string status(const std::string& name) const {
    std::ifstream lines("/proc/" + std::to_string(pid_) + "/status");
    for (std::string word; lines >> word;) {
      if (word == name && lines >> word) {
        return word;
      }
    }
    throw std::runtime_error("no " + name + " of the waiting process");
  }

  shoal::queue<std::uint64_t> queue_;
  pid_t pid_;
};

/// By how much `amount` of a waiting process grows in a second.
double a_second(std::size_t seconds, double (waiting_process::*amount)() const) {
  const waiting_process waiting;
  const double before = (waiting.*amount)();
  const auto begin = bench::clock::now();
  // It has just gone to sleep. Somewhat longer, so that what it does a second later, or a little after that, is
  // counted.
  std::this_thread::sleep_for(std::chrono::seconds(seconds) + std::chrono::milliseconds(50));
  return ((waiting.*amount)() - before) / bench::seconds_since(begin);
}

double resident_megabytes(const shoal::byte_queue& queue) {
  struct stat found {};
  if (::fstat(queue.descriptors().segment, &found) != 0) {
    throw std::system_error(errno, std::system_category(), "asking for the queue's memory");
  }
  return static_cast<double>(found.st_blocks) * 512 / 1e6;
}

double left_by_burst(std::size_t size, std::size_t count) {
  shoal::byte_queue queue;
  const std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < count; ++i) {
    (void)queue.push(shoal::encoding::raw, shoal::const_bytes(bytes));
  }
  if (queue.size() != count || resident_megabytes(queue) * 1e6 < static_cast<double>(size * count)) {
    throw std::runtime_error("this was no burst: the queue does not hold what was pushed");
  }
  shoal::record taken;
  while (queue.pop(taken, shoal::no_waiting) == shoal::queue_status::ok) {
  }
  if (!queue.empty()) {
    throw std::runtime_error("the queue was not drained");
  }
  return resident_megabytes(queue);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv, [](auto what, std::size_t count) {
    if (what[0] == "unread" && what.size() == 2) {
      return unread(bench::number(what[1]), count);
    }
    if (what[0] == "idle_queues" && what.size() == 2) {
      return beside_idle_queues(bench::number(what[1]), count);
    }
    if (what[0] == "wakeups") {
      return a_second(count, &waiting_process::sleeps);
    }
    if (what[0] == "processor") {
      return a_second(count, &waiting_process::processor_microseconds);
    }
    if (what[0] == "burst" && what.size() == 2) {
      return left_by_burst(bench::number(what[1]), count);
    }
    throw std::invalid_argument("expected unread LENGTH, idle_queues QUEUES, wakeups, processor or burst SIZE");
  });
}
