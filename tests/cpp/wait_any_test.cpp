#include "shoal/wait_any.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "process_support.hpp"
#include "shoal/event.hpp"
#include "shoal/process.hpp"
#include "shoal/queue.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::event;
using shoal::process;
using shoal::queue;
using shoal::room_of;
using shoal::wait_any;
using shoal::wait_any_for;
using shoal::waitable;
using shoal::test::patience;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class pipe_ends {
 public:
  pipe_ends() {
    std::array<int, 2> ends{};
    shoal::os::check(::pipe2(ends.data(), O_CLOEXEC), "creating a pipe");
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  void write() const { shoal::os::check(::write(writer.get(), "x", 1), "writing to a pipe"); }

  shoal::os::file_descriptor reader;
  shoal::os::file_descriptor writer;
};

TEST(WaitAny, TakesAnyMixAndTellsAllThatAreReadyInTheirOrder) {
  event set;
  queue<int> items;
  queue<int> bounded({.capacity = 1});
  const pipe_ends ends;
  process child([&] { set.wait(); });
  const auto look = [&] { return wait_any_for(0s, child, items, room_of(bounded), set, ends.reader.get()); };
  bounded.push(1);
  EXPECT_THAT(look(), IsEmpty());
  items.push(7);
  EXPECT_THAT(look(), ElementsAre(1));
  ends.write();
  EXPECT_THAT(look(), ElementsAre(1, 4));
  EXPECT_EQ(bounded.pop(), 1);
  EXPECT_THAT(look(), ElementsAre(1, 2, 4));
  set.set();
  EXPECT_THAT(wait_any(child), ElementsAre(0));
  EXPECT_THAT(look(), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_TRUE(child.join().success());
}

TEST(WaitAny, SleepsUntilOneBecomesReady) {
  event first;
  event second;
  process child([&] {
    std::this_thread::sleep_for(20ms);
    second.set();
  });
  EXPECT_THAT(wait_any_for(patience, first, second), ElementsAre(1));
  EXPECT_TRUE(second.is_set());
  EXPECT_TRUE(child.join().success());
}

TEST(WaitAny, GivesUpWhenTheTimeHasPassed) {
  event never;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(wait_any_for(20ms, never), IsEmpty());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  EXPECT_THAT(shoal::wait_any_until(std::chrono::system_clock::now() + 5ms, never), IsEmpty());
  EXPECT_THAT(shoal::wait_any_until(std::chrono::steady_clock::time_point::min() + 1ns, never), IsEmpty());
}

TEST(WaitAny, TakesARangeOfOneKindOrOfSeveral) {
  std::vector<process> children;
  event go;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back([i, &go] {
      if (i != 1) {
        go.wait();
      }
    });
  }
  EXPECT_THAT(wait_any(children), ElementsAre(1));
  std::vector<waitable> mix{go, children[0], children[1]};
  EXPECT_THAT(wait_any(mix), ElementsAre(2));
  go.set();
  EXPECT_THAT(wait_any_for(patience, mix), testing::Contains(0));
  for (process& child : children) {
    EXPECT_TRUE(child.join().success());
  }
}

TEST(WaitAny, AsksOfADescriptorWhatItIsToldTo) {
  const pipe_ends ends;
  EXPECT_THAT(wait_any_for(0s, waitable(ends.writer.get(), POLLOUT), waitable(ends.writer.get())), ElementsAre(0));
}

TEST(WaitAny, AnObjectMayBeGivenTwice) {
  event twice;
  twice.set();
  EXPECT_THAT(wait_any(twice, twice), ElementsAre(0, 1));
}

TEST(WaitAny, GoesOnAfterSignals) {
  event ready;
  process waiter([&] {
    struct sigaction ignored {};
    ignored.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &ignored, nullptr);
    const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 1'000}, .it_value = {.tv_sec = 0, .tv_usec = 1'000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    if (!wait_any_for(50ms, ready).empty()) {
      return 1;
    }
    return wait_any(ready).size() == 1 ? 0 : 2;
  });
  EXPECT_FALSE(waiter.join_for(100ms));
  ready.set();
  EXPECT_TRUE(waiter.join().success());
}

TEST(WaitAny, SaysWhichDescriptorIsNotOpen) {
  event fine;
  (void)fine.readiness_handle();  // or it would get the number
  int closed = 0;
  {
    const pipe_ends ends;
    closed = ends.reader.get();
  }
  try {
    (void)wait_any_for(0s, fine, closed);
    FAIL() << "no error";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::bad_file_descriptor);
    EXPECT_THAT(error.what(), HasSubstr("descriptor " + std::to_string(closed) + ", of object 1"));
  }
}

TEST(WaitAny, RefusesWhatIsNoProcessAnyMore) {
  process ended([] {});
  (void)ended.join();
  EXPECT_THROW((void)wait_any(ended), std::invalid_argument);
}

TEST(WaitAny, AThousandIdleObjectsCostNoThread) {
  std::vector<queue<int>> queues(1'000);
  EXPECT_THAT(wait_any_for(0s, queues), IsEmpty());
  process child([&] { queues[567].push(1); });
  EXPECT_THAT(wait_any_for(patience, queues), ElementsAre(567));
  const std::filesystem::directory_iterator threads("/proc/self/task");
  EXPECT_EQ(std::distance(begin(threads), end(threads)), 1);
  EXPECT_TRUE(child.join().success());
}

}  // namespace
