#include "shoal/wait_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "os/file_descriptor.hpp"
#include "os/memfd.hpp"
#include "process_support.hpp"
#include "shoal/event.hpp"
#include "shoal/process.hpp"
#include "shoal/queue.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::event;
using shoal::process;
using shoal::queue;
using shoal::wait_set;
using shoal::os::file_descriptor;
using shoal::test::becomes_readable;
using shoal::test::is_readable;
using shoal::test::patience;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST(WaitSet, ReportsWhatIsReadyOfAnyMixAsLongAsItIs) {
  wait_set set;
  event flag;
  queue<int> items;
  process child([] {});
  const auto flag_id = set.add(flag);
  const auto items_id = set.add(items);
  const auto child_id = set.add(child);
  EXPECT_THAT(set.wait_for(patience), ElementsAre(child_id));
  items.push(1);
  flag.set();
  EXPECT_THAT(set.wait(), UnorderedElementsAre(child_id, flag_id, items_id));
  EXPECT_THAT(set.wait(), UnorderedElementsAre(child_id, flag_id, items_id));
  EXPECT_TRUE(set.remove(child_id));
  EXPECT_TRUE(child.join().success());
  flag.clear();
  EXPECT_EQ(items.pop(), 1);
  EXPECT_THAT(set.wait_for(0s), IsEmpty());
  EXPECT_EQ(set.size(), 2U);
}

TEST(WaitSet, GivesUpWhenTheTimeHasPassed) {
  wait_set set;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(set.wait_for(20ms), IsEmpty());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  EXPECT_THAT(set.wait_until(std::chrono::system_clock::now() + 5ms), IsEmpty());
}

TEST(WaitSet, ReportsAllThatAreReadyHoweverMany) {
  wait_set set;
  std::vector<event> flags(300);
  for (event& flag : flags) {
    set.add(flag);
    flag.set();
  }
  EXPECT_EQ(set.wait().size(), flags.size());
}

TEST(WaitSet, WakesAThreadForWhatAnotherAddsMeanwhile) {
  wait_set set;
  event flag;
  flag.set();
  std::vector<wait_set::id> reported;
  std::thread waiter([&] { reported = set.wait_for(patience); });
  std::this_thread::sleep_for(10ms);
  const auto added = set.add(flag);
  waiter.join();
  EXPECT_THAT(reported, ElementsAre(added));
}

TEST(WaitSet, RefusesWhatItHasAndWhatCannotBeWaitedFor) {
  wait_set set;
  event flag;
  set.add(flag);
  EXPECT_THROW(set.add(flag), std::invalid_argument);
  int closed = -1;
  {
    const file_descriptor gone = file_descriptor::duplicate(0);
    closed = gone.get();
  }
  try {
    set.add(closed);
    FAIL() << "no error";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::bad_file_descriptor);
  }
  const file_descriptor file = shoal::os::make_memfd("test");
  EXPECT_THROW(set.add(file.get()), std::system_error);
  EXPECT_EQ(set.size(), 1U);
  EXPECT_FALSE(set.remove(12345));
}

TEST(WaitSet, ForgetsWhatWasClosedThoughAChildHasACopy) {
  wait_set set;
  event end;
  event flag;
  const auto flag_id = set.add(flag);
  process first([] {});
  const auto first_id = set.add(first);
  process holder([&] { end.wait(); });  // has a copy of the descriptor of `first`
  EXPECT_THAT(set.wait_for(patience), ElementsAre(first_id));
  EXPECT_TRUE(first.join().success());
  EXPECT_TRUE(set.remove(first_id));  // too late for the kernel
  EXPECT_THAT(set.wait_for(20ms), IsEmpty());
  flag.set();
  EXPECT_THAT(set.wait_for(patience), ElementsAre(flag_id));
  end.set();
  EXPECT_TRUE(holder.join().success());
}

TEST(WaitSet, HasADescriptorThatPollsReadableWhileSomethingInItIsReady) {
  wait_set set;
  event flag;
  queue<int> items;
  const auto flag_id = set.add(flag);
  const int polled = set.native_handle();
  EXPECT_FALSE(is_readable(polled));
  flag.set();
  EXPECT_TRUE(is_readable(polled));
  set.add(items);
  flag.clear();
  EXPECT_FALSE(is_readable(polled));
  items.push(1);
  EXPECT_TRUE(becomes_readable(polled));
  EXPECT_TRUE(items.try_pop());
  EXPECT_TRUE(set.remove(flag_id));
  flag.set();
  EXPECT_FALSE(is_readable(polled));
  EXPECT_EQ(set.native_handle(), polled);
}

TEST(WaitSet, HasADescriptorThatStaysTrueWhenWhatWasClosedIsForgotten) {
  wait_set set;
  wait_set others;
  event end;
  event flag;
  const auto flag_id = set.add(flag);
  process first([] {});
  const auto first_id = set.add(first);
  const auto set_id = others.add(set);
  process holder([&] { end.wait(); });  // has a copy of the descriptor of `first`
  EXPECT_THAT(others.wait_for(patience), ElementsAre(set_id));
  EXPECT_TRUE(first.join().success());
  EXPECT_TRUE(set.remove(first_id));  // too late for the kernel
  EXPECT_THAT(set.wait_for(0s), IsEmpty());
  EXPECT_THAT(others.wait_for(0s), IsEmpty());
  flag.set();
  EXPECT_THAT(others.wait_for(patience), ElementsAre(set_id));
  EXPECT_THAT(set.wait_for(0s), ElementsAre(flag_id));
  end.set();
  EXPECT_TRUE(holder.join().success());
}

TEST(WaitSet, TakesANewObjectWhoseDescriptorHasTheNumberOfAClosedOne) {
  wait_set set;
  process first([] {});
  const auto first_id = set.add(first);
  const int number = first.native_handle();
  EXPECT_TRUE(first.join().success());
  process second([] {});
  ASSERT_EQ(second.native_handle(), number);
  const auto second_id = set.add(second);
  EXPECT_FALSE(set.remove(first_id));
  EXPECT_THAT(set.wait_for(patience), ElementsAre(second_id));
  EXPECT_TRUE(second.join().success());
}

TEST(WaitSet, IsRefusedInAChildWhichMayMakeItsOwn) {
  wait_set set;
  event flag;
  const auto id = set.add(flag);
  process child([&] {
    try {
      set.remove(id);
      return 1;
    } catch (const std::logic_error&) {
      set = wait_set();
      set.add(flag);
      flag.set();
      return set.wait().size() == 1 ? 0 : 2;
    }
  });
  EXPECT_THAT(set.wait_for(patience), ElementsAre(id));
  EXPECT_TRUE(child.join().success());
}

TEST(WaitSet, AThousandIdleObjectsCostNoThread) {
  wait_set set;
  std::vector<queue<int>> queues(1'000);
  std::vector<wait_set::id> ids;
  for (auto& one : queues) {
    ids.push_back(set.add(one));
  }
  process child([&] { queues[567].push(1); });
  EXPECT_THAT(set.wait_for(patience), ElementsAre(ids[567]));
  const std::filesystem::directory_iterator threads("/proc/self/task");
  EXPECT_EQ(std::distance(begin(threads), end(threads)), 1);
  EXPECT_TRUE(child.join().success());
}

}  // namespace
