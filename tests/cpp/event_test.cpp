#include "shoal/event.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <vector>

#include "lock_support.hpp"
#include "shoal/error.hpp"
#include "shoal/mutex.hpp"
#include "sync/flag.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::event;
using shoal::no_waiting;
using shoal::process;
using shoal::sync::flag;
using shoal::sync::wait_result;
using shoal::test::is_readable;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::succeeds;

TEST(Event, WakesAllWhoWait) {
  event ready;
  std::vector<process> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] { ready.wait(); });
  }
  ready.set();
  for (process& one : waiting) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_TRUE(ready.is_set());
  ready.wait();
  ready.clear();
  EXPECT_FALSE(ready.is_set());
  EXPECT_FALSE(ready.wait_for(5ms));
}

TEST(Event, IsWaitedForInVainUntilItsTime) {
  event never;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(never.wait_for(20ms));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  EXPECT_FALSE(never.wait_until(std::chrono::steady_clock::now() + 5ms));
  EXPECT_FALSE(never.wait_until(std::chrono::system_clock::now() + 5ms));
  EXPECT_FALSE(never.wait_for(0ms));
  process other([&] { never.set(); });
  EXPECT_TRUE(never.wait_until(std::chrono::system_clock::now() + patience));
  EXPECT_TRUE(succeeds(other));
}

TEST(Event, SettingASetEventIsSeenByWhoeverClearsIt) {
  // The store before set() must not be delayed past it, or the one who clears and then looks would wait for ever.
  event ready;
  shared<std::atomic<int>> work;
  shared<std::atomic<int>> round;
  constexpr int rounds = 2'000;
  process setter([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (round->load(std::memory_order_acquire) != i) {
        ::sched_yield();
      }
      work->store(i, std::memory_order_relaxed);
      ready.set();
    }
  });
  bool lost = false;
  for (int i = 1; i <= rounds && !lost; ++i) {
    const shoal::deadline until = shoal::after(patience);
    ready.set();
    round->store(i, std::memory_order_release);
    ready.clear();
    while (work->load(std::memory_order_relaxed) != i && !ready.is_set() && !lost) {
      lost = std::chrono::steady_clock::now() > until;
      ::sched_yield();
    }
    while (work->load(std::memory_order_relaxed) != i) {
      ::sched_yield();
    }
  }
  EXPECT_FALSE(lost);
  EXPECT_TRUE(succeeds(setter));
}

TEST(Event, SetAndClearedAtOnceStillWakesWhoWaited) {
  flag pulse;
  const std::uint32_t generation = pulse.generation();
  pulse.set();
  pulse.clear();
  EXPECT_EQ(pulse.wait_until(generation, no_waiting), wait_result::done);
  EXPECT_EQ(pulse.wait_until(pulse.generation(), no_waiting), wait_result::timed_out);
}

TEST(Event, APulseWakesAllWhoSleep) {
  event pulse;
  std::vector<process> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] { pulse.wait(); });
  }
  for (const process& one : waiting) {
    ASSERT_TRUE(shoal::test::eventually([&] { return shoal::test::is_asleep(one.id()); }));
  }
  pulse.set();
  pulse.clear();
  for (process& one : waiting) {
    EXPECT_TRUE(succeeds(one));
  }
}

event* set_by_signals;

TEST(Event, IsSetByASignalHandlerThatInterruptsSet) {
  event ready;
  event finished;
  set_by_signals = &ready;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { set_by_signals->set(); };
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  process waiter([&] {  // so that there is somebody to wake
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    while (!finished.is_set()) {
      if (!ready.wait_for(patience)) {
        return 1;
      }
    }
    return 0;
  });
  const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 50}, .it_value = {.tv_sec = 0, .tv_usec = 50}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &often, nullptr), 0);
  for (int i = 0; i < 20'000; ++i) {
    ready.set();
    ready.clear();
  }
  const itimerval none{};
  ::setitimer(ITIMER_REAL, &none, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  finished.set();
  ready.set();
  EXPECT_TRUE(succeeds(waiter));
}

TEST(Event, IsWaitedForThroughSignals) {
  event ready;
  process waiter([&] {
    struct sigaction ignored {};
    ignored.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &ignored, nullptr);
    const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 1'000}, .it_value = {.tv_sec = 0, .tv_usec = 1'000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    if (ready.wait_for(50ms)) {
      return 1;
    }
    ready.wait();
    return ready.is_set() ? 0 : 1;
  });
  EXPECT_FALSE(waiter.join_for(100ms));
  ready.set();
  EXPECT_TRUE(succeeds(waiter));
}

TEST(Event, IsFoundByItsHandle) {
  event ready;
  event same(ready.native_handle());
  same.set();
  EXPECT_TRUE(ready.is_set());
  shoal::mutex stranger;
  EXPECT_THROW(event(stranger.native_handle()), shoal::error);
}

TEST(Event, DescriptorIsReadableExactlyWhileItIsSet) {
  event ready;
  const auto before = shoal::test::open_descriptors();
  const int fd = ready.readiness_handle();
  EXPECT_EQ(shoal::test::open_descriptors(), before + 1);
  EXPECT_EQ(ready.readiness_handle(), fd);
  EXPECT_FALSE(is_readable(fd));
  ready.set();
  EXPECT_TRUE(is_readable(fd));
  ready.set();
  EXPECT_TRUE(is_readable(fd));
  ready.clear();
  EXPECT_FALSE(is_readable(fd));
  ready.clear();
  EXPECT_FALSE(is_readable(fd));
}

TEST(Event, DescriptorAskedForLateIsReadableIfItIsSetAlready) {
  event ready;
  ready.set();
  EXPECT_TRUE(is_readable(ready.readiness_handle()));
}

TEST(Event, DescriptorTellsOfWhatProcessesDoThatWereForkedBeforeItWasAskedFor) {
  event ready;
  event go;
  process other([&] {
    go.wait();
    ready.set();
  });
  const int fd = ready.readiness_handle();
  EXPECT_FALSE(is_readable(fd));
  go.set();
  EXPECT_TRUE(shoal::test::becomes_readable(fd));
  EXPECT_TRUE(succeeds(other));
  process third([&] { ready.clear(); });
  EXPECT_TRUE(succeeds(third));
  EXPECT_FALSE(is_readable(fd));
}

TEST(Event, DescriptorIsOneForAllHandles) {
  event ready;
  event same(ready.native_handle());
  const int fd = ready.readiness_handle();
  same.set();
  EXPECT_TRUE(is_readable(fd));
  EXPECT_TRUE(is_readable(same.readiness_handle()));
  ready.clear();
  EXPECT_FALSE(is_readable(same.readiness_handle()));
}

TEST(Event, TakesNoDescriptorBeforeItIsNeeded) {
  (void)event();
  const auto before = shoal::test::open_descriptors();
  std::vector<event> many(100);
  for (event& one : many) {
    one.set();
    one.wait();
    one.clear();
  }
  EXPECT_EQ(shoal::test::open_descriptors(), before);
}

TEST(Event, ThatWasMadeBeforeAForkWithFewDescriptorsLeftSaysSoWhenItsOwnIsAskedFor) {
  process child([] {
    event ready;
    const auto taken = shoal::test::all_descriptors_but(3);
    process grandchild([&] { ready.set(); });
    if (!succeeds(grandchild) || !ready.is_set()) {
      return 1;
    }
    try {
      (void)ready.readiness_handle();
      return 2;
    } catch (const std::system_error& refused) {
      return refused.code() == std::errc::too_many_files_open ? 0 : 3;
    }
  });
  EXPECT_TRUE(succeeds(child));
}

TEST(Event, AllItsPollersHearOfEverySetWhileOthersLook) {
  event ready;
  event heard;
  shared<std::atomic<bool>> over;
  constexpr int rounds = 300;
  std::vector<process> lookers;
  for (int i = 0; i < 2; ++i) {
    lookers.emplace_back([&] {
      while (!over->load()) {
        (void)ready.is_set();
      }
    });
  }
  process poller([&] {
    for (int round = 0; round < rounds; ++round) {
      if (!shoal::test::becomes_readable(ready.readiness_handle())) {
        return 1;
      }
      while (!ready.is_set()) {
        ::sched_yield();
      }
      ready.clear();
      heard.set();
    }
    return 0;
  });
  for (int round = 0; round < rounds; ++round) {
    ready.set();
    ASSERT_TRUE(heard.wait_for(patience)) << "round " << round;
    heard.clear();
  }
  over->store(true);
  EXPECT_TRUE(succeeds(poller));
  for (process& looker : lookers) {
    EXPECT_TRUE(succeeds(looker));
  }
  EXPECT_FALSE(is_readable(ready.readiness_handle()));
}

}  // namespace
