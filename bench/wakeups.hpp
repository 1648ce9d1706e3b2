#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>

#include "processes.hpp"
#include "shoal/queue.hpp"

/// How soon an event loop's handler has what another process sends, when the loop was asleep.
///
///     PROGRAM queue|eventfd IDLE median|p99|shared COUNT
///
/// Half a millisecond after each, when the loop has fallen asleep, the other process sends the time; it is compared
/// with when the handler has it. Beside a queue there is what no descriptor of a queue can do without: an eventfd, and
/// the time in shared memory. The loop watches IDLE more of the same kind, to which nothing is sent.
///
/// Prints what COUNT of them take if each takes as long as the median one, or as one of a hundred does at least; or as
/// the median one where both processes share one processor.
namespace bench::wakeups {

/// From one process to another, whose loop watches `descriptor()`.
class channel {
 public:
  channel() = default;
  channel(const channel&) = delete;
  channel& operator=(const channel&) = delete;
  virtual ~channel() = default;

  [[nodiscard]] virtual int descriptor() = 0;
  virtual void send(std::int64_t value) = 0;
  /// @return nothing if nothing is there.
  virtual std::optional<std::int64_t> receive() = 0;
};

class queue_channel final : public channel {
 public:
  [[nodiscard]] int descriptor() override { return queue_.native_handle(); }
  void send(std::int64_t value) override { queue_.push(value); }
  std::optional<std::int64_t> receive() override { return queue_.try_pop(); }
  [[nodiscard]] shoal::queue<std::int64_t>& queue() { return queue_; }

 private:
  shoal::queue<std::int64_t> queue_;
};

class eventfd_channel final : public channel {
 public:
  eventfd_channel() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) {
      throw std::system_error(errno, std::system_category(), "creating an eventfd");
    }
  }
  eventfd_channel(const eventfd_channel&) = delete;
  eventfd_channel& operator=(const eventfd_channel&) = delete;
  ~eventfd_channel() override { ::close(descriptor_); }

  [[nodiscard]] int descriptor() override { return descriptor_; }
  void send(std::int64_t value) override {
    value_.store(value, std::memory_order_release);
    if (::eventfd_write(descriptor_, 1) != 0) {
      throw std::system_error(errno, std::system_category(), "writing an eventfd");
    }
  }
  std::optional<std::int64_t> receive() override {
    eventfd_t times = 0;
    if (::eventfd_read(descriptor_, &times) != 0) {
      return std::nullopt;
    }
    return value_.load(std::memory_order_acquire);
  }

 private:
  int descriptor_;
  std::atomic<std::int64_t>& value_ = make_shared<std::atomic<std::int64_t>>();
};

using handler = std::function<void(std::int64_t)>;

/// An event loop, which takes what comes without being asked.
class event_loop {
 public:
  event_loop() = default;
  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;
  virtual ~event_loop() = default;

  /// From now on calls `on_value` with each value.
  virtual void receive(channel& from, handler on_value) = 0;
  virtual void run() = 0;
  virtual void stop() = 0;
};

/// One that calls functions while descriptors are readable.
class watching_loop : public event_loop {
 public:
  void receive(channel& from, handler on_value) final {
    watch(from.descriptor(), [&from, on_value = std::move(on_value)] {
      if (const std::optional<std::int64_t> value = from.receive()) {
        on_value(*value);
      }
    });
  }

 protected:
  virtual void watch(int descriptor, std::function<void()> on_readable) = 0;
};

inline std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now().time_since_epoch()).count();
}

inline long times_asleep() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nvcsw;
}

/// @return the seconds from sending to receiving, of each.
inline std::vector<double> latencies(event_loop& loop, channel& active, bool on_one_processor, std::size_t count) {
  constexpr std::size_t warming_up = 20;
  constexpr auto long_enough_to_fall_asleep = std::chrono::microseconds(500);
  auto& received = make_shared<std::atomic<std::size_t>>();
  std::vector<double> each;
  loop.receive(active, [&, seen = std::size_t{0}](std::int64_t sent) mutable {
    const std::int64_t taken = now() - sent;
    if (++seen > warming_up) {
      each.push_back(static_cast<double>(taken) * 1e-9);
    }
    received.store(seen);
    if (seen == warming_up + count) {
      loop.stop();
    }
  });
  const auto send = [&] {
    for (std::size_t sent = 0; sent < warming_up + count; ++sent) {
      while (received.load() < sent) {
      }
      // Not asleep itself: a processor that has nothing to do is slow to come back.
      for (const auto begin = clock::now(); clock::now() - begin < long_enough_to_fall_asleep;) {
      }
      active.send(now());
    }
  };
  const long before = times_asleep();
  const child sender{on_one_processor ? 0U : 1U, send};
  seconds_together([&] { loop.run(); }, std::span(&sender, 1));
  if (static_cast<std::size_t>(times_asleep() - before) < count * 9 / 10) {
    throw std::runtime_error("the loop did not sleep");
  }
  return each;
}

inline double percentile(std::vector<double> values, double part) {
  const auto at = static_cast<std::ptrdiff_t>(std::floor(static_cast<double>(values.size() - 1) * part));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

inline std::unique_ptr<channel> make_channel(std::string_view kind) {
  if (kind == "queue") {
    return std::make_unique<queue_channel>();
  }
  if (kind == "eventfd") {
    return std::make_unique<eventfd_channel>();
  }
  throw std::invalid_argument("expected queue or eventfd");
}

/// main() of a program with one event loop.
template <class Loop>
int run(int argc, char** argv) {
  if (usable_cpus().size() < 2) {
    std::fprintf(stderr, "needs two processors\n");
    return not_available;
  }
  return bench::run(argc, argv, [](std::span<const std::string_view> what, std::size_t count) {
    if (what.size() != 3 || (what[2] != "median" && what[2] != "p99" && what[2] != "shared")) {
      throw std::invalid_argument("expected queue or eventfd, how many are idle, and median, p99 or shared");
    }
    Loop loop;
    std::vector<std::unique_ptr<channel>> idle(number(what[1]));
    for (std::unique_ptr<channel>& one : idle) {
      one = make_channel(what[0]);
      loop.receive(*one, [](std::int64_t) { throw std::runtime_error("what is idle has sent something"); });
    }
    const std::unique_ptr<channel> active = make_channel(what[0]);
    const std::vector<double> each = latencies(loop, *active, what[2] == "shared", count);
    return percentile(each, what[2] == "p99" ? 0.99 : 0.5) * static_cast<double>(count);
  });
}

}  // namespace bench::wakeups
