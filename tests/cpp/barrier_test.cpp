#include "shoal/barrier.hpp"

#include <gtest/gtest.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "lock_support.hpp"
#include "shoal/counting_semaphore.hpp"
#include "shoal/error.hpp"
#include "shoal/event.hpp"
#include "sync/barrier_core.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::barrier;
using shoal::errc;
using shoal::process;
using shoal::sync::barrier_core;
using shoal::test::code_of;
using shoal::test::eventually;
using shoal::test::in_child;
using shoal::test::patience;
using shoal::test::shared;
using shoal::test::succeeds;

template <class Barrier>
bool have_arrived(Barrier& meeting, std::uint32_t count) {
  const barrier_core same(meeting.native_handle());
  return eventually([&] { return same.look().arrived == count; });
}

template <class Barrier>
bool is_broken_for_me(Barrier& meeting) {
  return code_of([&] { meeting.arrive_and_wait(); }) == errc::broken_barrier;
}

TEST(Barrier, LetsAllGoOnWhenAllHaveCome) {
  barrier meeting(3);
  shared<std::atomic<int>> arrived;
  std::vector<process> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      ++*arrived;
      meeting.arrive_and_wait();
      return arrived->load() == 3 ? 0 : 1;
    });
  }
  ASSERT_TRUE(have_arrived(meeting, 2));
  EXPECT_FALSE(others.front().join_for(5ms));
  ++*arrived;
  meeting.arrive_and_wait();
  for (process& other : others) {
    EXPECT_TRUE(succeeds(other));
  }
}

TEST(Barrier, KeepsTwoProcessesInStepForManyPhases) {
  barrier meeting(2);
  constexpr int phases = shoal::test::instrumented ? 5'000 : 100'000;
  struct counts {
    std::atomic<int> mine[2];
  };
  shared<counts> done;
  const auto run = [&](int me) {
    for (int phase = 1; phase <= phases; ++phase) {
      done->mine[me].store(phase, std::memory_order_relaxed);
      meeting.arrive_and_wait();
      const int other = done->mine[1 - me].load(std::memory_order_relaxed);
      if (other < phase || other > phase + 1) {
        return false;
      }
    }
    return true;
  };
  process other([&] { return run(1) ? 0 : 1; });
  EXPECT_TRUE(run(0));
  EXPECT_TRUE(succeeds(other));
}

TEST(Barrier, CompletesEachPhaseOnceBeforeAnybodyGoesOn) {
  struct counts {
    std::atomic<int> arrived;
    std::atomic<int> completed;
    std::atomic<int> early;  // completions before all had arrived
  };
  shared<counts> seen;
  constexpr int parties = 3;
  barrier meeting(parties, [&] { seen->early += seen->arrived != parties * ++seen->completed ? 1 : 0; });
  barrier all_have_looked(parties);
  constexpr int phases = 500;
  const auto run = [&] {
    for (int phase = 1; phase <= phases; ++phase) {
      ++seen->arrived;
      meeting.arrive_and_wait();
      if (seen->completed != phase) {
        return 1;
      }
      all_have_looked.arrive_and_wait();
    }
    return 0;
  };
  std::vector<process> others;
  for (int i = 1; i < parties; ++i) {
    others.emplace_back(run);
  }
  EXPECT_EQ(run(), 0);
  for (process& other : others) {
    EXPECT_TRUE(succeeds(other));
  }
  EXPECT_EQ(seen->early, 0);
}

TEST(Barrier, IsBrokenByACompletionThatThrows) {
  struct failing {
    void operator()() const { throw std::runtime_error("completion"); }
  };
  barrier meeting(2, failing());
  process other([&] { return is_broken_for_me(meeting) ? 0 : 1; });
  ASSERT_TRUE(have_arrived(meeting, 1));
  EXPECT_THROW(meeting.arrive_and_wait(), std::runtime_error);
  EXPECT_TRUE(succeeds(other));
  EXPECT_TRUE(meeting.is_broken());
}

TEST(Barrier, GoesOnWithoutOneWhoDropsOut) {
  barrier meeting(3);
  process leaving([&] { meeting.arrive_and_drop(); });
  process staying([&] {
    meeting.arrive_and_wait();
    meeting.arrive_and_wait();
  });
  meeting.arrive_and_wait();
  meeting.arrive_and_wait();
  EXPECT_TRUE(succeeds(leaving));
  EXPECT_TRUE(succeeds(staying));
}

TEST(Barrier, EndsThePhaseIfTheLastDropsOut) {
  barrier meeting(2);
  process staying([&] {
    meeting.arrive_and_wait();
    meeting.arrive_and_wait();  // alone by now
  });
  ASSERT_TRUE(have_arrived(meeting, 1));
  meeting.arrive_and_drop();
  EXPECT_TRUE(succeeds(staying));
}

TEST(Barrier, ThoseWhoDropOutHoldUpNobody) {
  constexpr int rounds = shoal::test::instrumented ? 50 : 300;
  for (int round = 0; round < rounds; ++round) {
    barrier meeting(4);
    std::vector<process> parties;
    for (int i = 0; i < 2; ++i) {
      parties.emplace_back([&] { meeting.arrive_and_drop(); });
    }
    for (int i = 0; i < 2; ++i) {
      parties.emplace_back([&] {
        for (int phase = 0; phase < 5; ++phase) {
          meeting.arrive_and_wait();
        }
      });
    }
    for (process& party : parties) {
      ASSERT_TRUE(succeeds(party)) << "in round " << round;
    }
  }
}

TEST(Barrier, IsBrokenByTheDeathOfOneWhoWaits) {
  barrier meeting(3);
  process victim([&] { meeting.arrive_and_wait(); });
  process other([&] { return is_broken_for_me(meeting) ? 0 : 1; });
  ASSERT_TRUE(have_arrived(meeting, 2));
  victim.kill();
  (void)victim.join();
  EXPECT_TRUE(succeeds(other));
  EXPECT_TRUE(meeting.is_broken());
  EXPECT_TRUE(is_broken_for_me(meeting));
}

TEST(Barrier, IsBrokenAlsoWhereSignalsInterruptTheWait) {
  barrier meeting(3);
  process victim([&] { meeting.arrive_and_wait(); });
  process disturbed([&] {
    struct sigaction ignored {};
    ignored.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &ignored, nullptr);
    const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 50'000},
                          .it_value = {.tv_sec = 0, .tv_usec = 50'000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    return is_broken_for_me(meeting) ? 0 : 1;
  });
  ASSERT_TRUE(have_arrived(meeting, 2));
  victim.kill();
  (void)victim.join();
  EXPECT_TRUE(succeeds(disturbed));
}

TEST(Barrier, IsBrokenByWhoTakesThePlaceOfADeadOneAmongTheThreads) {
  barrier meeting(3);
  shoal::counting_semaphore units(0);
  process victim([&] { meeting.arrive_and_wait(); });
  ASSERT_TRUE(have_arrived(meeting, 1));
  victim.kill();
  (void)victim.join();
  EXPECT_TRUE(in_child([&] {  // is not known yet, and gets the record of the victim
    return !units.try_acquire_for(1ms) && meeting.is_broken();
  }));
}

TEST(Barrier, IsBrokenByTheDeathOfOneWhoCompletes) {
  barrier meeting(2, [] { ::raise(SIGKILL); });
  process other([&] { return is_broken_for_me(meeting) ? 0 : 1; });
  ASSERT_TRUE(have_arrived(meeting, 1));
  process victim([&] { meeting.arrive_and_wait(); });
  EXPECT_TRUE(victim.join().signaled());
  EXPECT_TRUE(succeeds(other));
}

TEST(Barrier, IsNotBrokenByTheDeathOfOneWhoWentOn) {
  barrier meeting(2);
  process victim([&] {
    meeting.arrive_and_wait();
    ::raise(SIGKILL);
  });
  meeting.arrive_and_wait();
  (void)victim.join();
  EXPECT_FALSE(meeting.is_broken());
  process next([&] { meeting.arrive_and_wait(); });
  meeting.arrive_and_wait();
  EXPECT_TRUE(succeeds(next));
}

TEST(Barrier, IsAsNewAfterAReset) {
  barrier meeting(2);
  process victim([&] { meeting.arrive_and_wait(); });
  ASSERT_TRUE(have_arrived(meeting, 1));
  victim.kill();
  (void)victim.join();
  meeting.abort();
  EXPECT_TRUE(is_broken_for_me(meeting));
  meeting.reset();
  EXPECT_FALSE(meeting.is_broken());
  for (int i = 0; i < 3; ++i) {
    process other([&] { meeting.arrive_and_wait(); });
    meeting.arrive_and_wait();
    EXPECT_TRUE(succeeds(other));
  }
}

TEST(Barrier, TellsThoseWhoWaitOfAReset) {
  barrier meeting(3);
  std::vector<process> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.emplace_back([&] { return is_broken_for_me(meeting) ? 0 : 1; });
  }
  ASSERT_TRUE(have_arrived(meeting, 2));
  meeting.reset();
  for (process& one : waiting) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_FALSE(meeting.is_broken());
  EXPECT_TRUE(have_arrived(meeting, 0));
}

TEST(Barrier, AResetOfOneThatIsAsNewChangesNothing) {
  barrier meeting(1);
  meeting.reset();
  EXPECT_FALSE(meeting.is_broken());
  meeting.arrive_and_wait();
  meeting.reset();
  meeting.arrive_and_wait();
}

TEST(Barrier, IsBrokenForAllWhenAborted) {
  barrier meeting(3);
  std::vector<process> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.emplace_back([&] { return is_broken_for_me(meeting) ? 0 : 1; });
  }
  ASSERT_TRUE(have_arrived(meeting, 2));
  meeting.abort();
  for (process& one : waiting) {
    EXPECT_TRUE(succeeds(one));
  }
  EXPECT_TRUE(meeting.is_broken());
  EXPECT_TRUE(is_broken_for_me(meeting));
}

TEST(Barrier, IsBrokenByOneWhoGivesUp) {
  barrier meeting(3);
  process other([&] { return is_broken_for_me(meeting) ? 0 : 1; });
  ASSERT_TRUE(have_arrived(meeting, 1));
  EXPECT_FALSE(meeting.arrive_and_wait_for(10ms));
  EXPECT_TRUE(meeting.is_broken());
  EXPECT_TRUE(succeeds(other));
  meeting.reset();
  process third([&] { return meeting.arrive_and_wait_for(patience) ? 0 : 1; });
  process second([&] { return meeting.arrive_and_wait_for(patience) ? 0 : 1; });
  EXPECT_TRUE(meeting.arrive_and_wait_for(patience));
  EXPECT_TRUE(succeeds(second));
  EXPECT_TRUE(succeeds(third));
}

TEST(Barrier, ServesMoreThreadsThanItHasParties) {
  barrier meeting(2);
  std::atomic<int> passed{0};
  std::vector<std::thread> many;
  for (int i = 0; i < 6; ++i) {
    many.emplace_back([&] {
      while (code_of([&] { meeting.arrive_and_wait(); }) != errc::broken_barrier) {
        ++passed;
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return passed >= 3'000; }));
  meeting.abort();
  for (std::thread& one : many) {
    one.join();
  }
  meeting.reset();
  std::thread other([&] { meeting.arrive_and_wait(); });
  meeting.arrive_and_wait();
  other.join();
}

TEST(Barrier, OfOnePartyKeepsNobody) {
  int completed = 0;
  barrier meeting(1, [&] { ++completed; });
  for (int i = 0; i < 10; ++i) {
    meeting.arrive_and_wait();
  }
  EXPECT_EQ(completed, 10);
}

TEST(Barrier, RefusesImpossibleNumbers) {
  EXPECT_THROW(barrier(0), std::invalid_argument);
  EXPECT_THROW(barrier(-1), std::invalid_argument);
  EXPECT_THROW(barrier(barrier<>::max() + 1), std::invalid_argument);
  EXPECT_NO_THROW(barrier{barrier<>::max()});
}

TEST(Barrier, IsFoundByItsHandle) {
  barrier meeting(2);
  const auto handle = meeting.native_handle();
  process other([&] {
    const auto copy = shoal::os::file_descriptor::duplicate(handle.arena);
    barrier<> same(shoal::slot_location{copy.get(), handle.index});
    same.arrive_and_wait();
  });
  meeting.arrive_and_wait();
  EXPECT_TRUE(succeeds(other));
  shoal::event stranger;
  EXPECT_THROW(barrier<>(stranger.native_handle()), shoal::error);
}

}  // namespace
