// A process asleep in epoll_wait on a queue's descriptor hears of every record, whoever was killed.

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "os/file_descriptor.hpp"
#include "process_support.hpp"
#include "queue_kill_support.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"

namespace {

using namespace std::chrono_literals;
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

constexpr auto promptly = 2s;

/// Sleeps in epoll_wait, without a time limit, and takes what there is.
class sleeper {
 public:
  explicit sleeper(byte_queue& queue)
      : child_([this, &queue] {
          ::prctl(PR_SET_PDEATHSIG, SIGKILL);
          const shoal::os::file_descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
          epoll_event event{.events = EPOLLIN, .data = {}};
          ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, queue.native_handle(), &event);
          for (record got;;) {
            *asleep_ = true;
            ::epoll_wait(epoll.get(), &event, 1, -1);
            *asleep_ = false;
            while (queue.pop(got, no_waiting) == queue_status::ok) {
              ++*taken_;
            }
            if (queue.closed() && queue.empty()) {
              return;
            }
          }
        }) {}
  sleeper(const sleeper&) = delete;
  sleeper& operator=(const sleeper&) = delete;
  ~sleeper() {
    if (child_.joinable()) {
      child_.kill();
      (void)child_.join();
    }
  }

  [[nodiscard]] std::uint64_t taken() const { return *taken_; }
  [[nodiscard]] bool is_asleep() const { return *asleep_; }

  bool join() {
    const auto status = child_.join_for(patience);
    return status && status->success();
  }

 private:
  shared<std::atomic<std::uint64_t>> taken_;
  shared<std::atomic<bool>> asleep_;
  process child_;
};

void push(byte_queue& queue) {
  ASSERT_EQ(queue.push(encoding::raw, shoal::const_bytes{}, after(patience)), queue_status::ok);
}

/// Has something on lease until it is killed.
process start_lessee(byte_queue& queue) {
  return process([&queue] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    shoal::lease held;
    (void)queue.pop(held, after(patience));
    ::pause();
  });
}

class QueuePollerAndKills : public testing::Test {
 protected:
  void SetUp() override {
    if (!shoal::test::can_give_death_notice()) {
      GTEST_SKIP() << "the system does not tell of the death of a process";
    }
  }

  /// Kills it and expects that what it left is taken soon.
  template <class Taken>
  static void kill(process& victim, Taken is_taken) {
    const auto begin = std::chrono::steady_clock::now();
    victim.kill();
    (void)victim.join();
    ASSERT_TRUE(eventually(is_taken)) << "it sleeps for ever";
    EXPECT_LT(std::chrono::steady_clock::now() - begin, promptly);
  }
};

TEST_F(QueuePollerAndKills, IsWokenWhenWhoHasALeaseIsKilledWhileAllOthersSleep) {
  const int deaths = shoal::test::chaos_is_long() ? 300 : 10;
  for (int death = 0; death < deaths && !HasFailure(); ++death) {
    byte_queue queue;
    (void)queue.native_handle();
    process first = start_lessee(queue);
    process second = start_lessee(queue);
    push(queue);
    push(queue);
    ASSERT_TRUE(eventually([&] { return queue.leased() == 2; }));
    sleeper consumer(queue);
    ASSERT_TRUE(eventually([&] { return consumer.is_asleep(); }));
    kill(first, [&] { return consumer.taken() == 1; });
    ASSERT_TRUE(eventually([&] { return consumer.is_asleep(); }));
    kill(second, [&] { return consumer.taken() == 2; });
    queue.close();
    EXPECT_TRUE(consumer.join());
  }
}

TEST_F(QueuePollerAndKills, IsWokenForAllThatIsThereAfterADeathWhateverItInterrupted) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  byte_queue queue;
  (void)queue.native_handle();
  sleeper consumer(queue);
  const int deaths = shoal::test::chaos_is_long() ? 3'000 : 60;
  for (int death = 0; death < deaths && !HasFailure(); ++death) {
    process victim([&queue] {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (std::deque<shoal::lease> held;;) {
        push(queue);
        if (shoal::lease got; queue.pop(got, no_waiting) == queue_status::ok) {
          held.push_back(std::move(got));
        }
        if (held.size() > 2) {
          (void)held.front().acknowledge();
          held.pop_front();  // and the next one ends
          held.pop_front();
        }
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5'000));
    kill(victim, [&] { return queue.empty() && queue.leased() == 0; });
  }
  queue.close();
  EXPECT_TRUE(consumer.join());
}

// The system allows all processes together some thousands of what a notice needs.
TEST_F(QueuePollerAndKills, CostAProcessThatForksBetweenLeasesNoMoreThanOneThatDoesNot) {
  byte_queue queue;
  const auto contexts = [] {
    std::ifstream maps("/proc/self/maps");
    std::size_t count = 0;
    for (std::string line; std::getline(maps, line);) {
      count += line.find("/[aio]") != std::string::npos ? 1 : 0;
    }
    return count;
  };
  for (int turn = 0; turn < 4; ++turn) {
    push(queue);
    shoal::lease held;
    ASSERT_EQ(queue.pop(held, no_waiting), queue_status::ok);
    EXPECT_TRUE(held.acknowledge());
    shoal::test::run_and_die([] {});
  }
  EXPECT_EQ(contexts(), 1U);
}

}  // namespace
