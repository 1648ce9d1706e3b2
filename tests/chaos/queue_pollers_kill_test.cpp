// A process asleep in epoll_wait, level-triggered or edge-triggered, is woken for everything that producers push,
// whoever is killed: producers, consumers that do not poll, and the poller itself.

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <thread>

#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"

namespace {

using shoal::after;
using shoal::byte_queue;
using shoal::encoding;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::record;
using shoal::test::eventually;
using shoal::test::patience;
using shoal::test::shared;

/// What all have done; what a process did in its last moment may be missing.
struct counts {
  std::atomic<std::uint64_t> pushed;
  std::atomic<std::uint64_t> polled;  // taken by the poller
  std::atomic<std::uint64_t> popped;  // taken by others
  std::atomic<std::uint64_t> woken;
};

/// Takes what there is whenever its epoll instance says so, and never looks otherwise.
class poller {
 public:
  poller(byte_queue& queue, counts& done, std::uint32_t events) : queue_(&queue), done_(&done), events_(events) {
    start();
  }

  poller(const poller&) = delete;
  poller& operator=(const poller&) = delete;
  ~poller() { end(); }

  void replace() {
    end();
    start();
  }
  bool ends() {
    const auto status = child_.join_for(patience);
    return status && status->success();
  }
  [[nodiscard]] bool is_asleep() const { return *asleep_; }

 private:
  void start() {
    *asleep_ = false;
    child_ = process([this] { serve(); });
  }

  void end() {
    if (child_.joinable()) {
      child_.kill();
      (void)child_.join();
    }
  }

  void serve() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const shoal::os::file_descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{.events = events_, .data = {}};
    ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, queue_->native_handle(), &event);
    for (record got;;) {
      *asleep_ = true;
      ::epoll_wait(epoll.get(), &event, 1, -1);
      *asleep_ = false;
      ++done_->woken;
      // Busy is not empty: where only edges are told, it has to be tried again.
      for (queue_status status{}; (status = queue_->pop(got, no_waiting)) != queue_status::timed_out;) {
        if (status == queue_status::closed) {
          return;
        }
        done_->polled += status == queue_status::ok ? 1 : 0;
      }
    }
  }

  byte_queue* queue_;
  counts* done_;
  std::uint32_t events_;
  shared<std::atomic<bool>> asleep_;
  process child_;
};

process start_producer(byte_queue& queue, counts& done) {
  return process([&queue, &done] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (std::uint64_t pushed = 0;; ++pushed) {
      (void)queue.push(encoding::raw, shoal::const_bytes{}, after(patience));
      ++done.pushed;
      if (pushed % 4 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));  // so that pollers fall asleep
      }
    }
  });
}

process start_consumer(byte_queue& queue, counts& done) {
  return process([&queue, &done] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (record got;;) {
      if (queue.pop(got, after(patience)) == queue_status::ok) {
        ++done.popped;
      }
    }
  });
}

class QueuePollerAndRandomKills : public testing::TestWithParam<std::uint32_t> {};

INSTANTIATE_TEST_SUITE_P(OfEachKind, QueuePollerAndRandomKills,
                         testing::Values(std::uint32_t{EPOLLIN}, std::uint32_t{EPOLLIN} | std::uint32_t{EPOLLET}),
                         [](const auto& chosen) { return (chosen.param & EPOLLET) != 0 ? "Edge" : "Level"; });

TEST_P(QueuePollerAndRandomKills, IsWokenForEveryRecord) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  byte_queue queue;
  (void)queue.native_handle();
  const shared<counts> done;
  poller only(queue, *done, GetParam());
  const int rounds = shoal::test::chaos_is_long() ? 5'000 : 100;
  int poller_kills = 0;
  for (int round = 0; round < rounds; ++round) {
    process producer = start_producer(queue, *done);
    process consumer = start_consumer(queue, *done);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 4'000));
    for (process* const victim : {&producer, &consumer}) {
      victim->kill();
      (void)victim->join();
    }
    if (random() % 4 == 0) {
      only.replace();
      ++poller_kills;
    }
    ASSERT_TRUE(eventually([&] { return queue.empty(); })) << "a record lies there, and the poller sleeps";
    ASSERT_TRUE(eventually([&] { return only.is_asleep(); }));
    ASSERT_EQ(queue.push(encoding::raw, shoal::const_bytes{}, after(patience)), queue_status::ok);
    ++done->pushed;
    ASSERT_TRUE(eventually([&] { return queue.empty(); })) << "the poller was not woken for one more record";
  }
  queue.close();
  EXPECT_TRUE(only.ends());
  const std::uint64_t taken = done->polled + done->popped;
  std::printf("%d rounds, %d pollers killed, %llu pushed, %llu taken (%llu by pollers, woken %llu times)\n", rounds,
              poller_kills, static_cast<unsigned long long>(queue.pushed()), static_cast<unsigned long long>(taken),
              static_cast<unsigned long long>(done->polled), static_cast<unsigned long long>(done->woken));
  // Who is killed between a call and the count of it is not counted.
  EXPECT_LE(queue.pushed() - done->pushed, static_cast<std::uint64_t>(rounds));
  EXPECT_LE(queue.pushed() - taken, static_cast<std::uint64_t>(rounds + poller_kills));
}

}  // namespace
