// What queue<T> adds to push and pop: batches, leases, values in place.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"
#include "shoal/queue.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::process;
using shoal::queue;

struct order {
  int id;
  std::string text;
  bool operator==(const order&) const = default;
};

struct image {
  std::uint32_t width;
  std::uint32_t height;
  std::array<std::uint8_t, 1'000'000> pixels;
};

struct pair {
  int first;
  int second;
};

TEST(Queue, ManyValuesGoInAndComeOutTogether) {
  queue<order> orders;
  const std::vector<order> all = {{1, "one"}, {2, "two"}, {3, "three"}};
  orders.push_many(all);
  EXPECT_EQ(orders.size(), 3U);
  EXPECT_EQ(orders.pop_many(2), (std::vector<order>{{1, "one"}, {2, "two"}}));
  EXPECT_EQ(orders.pop_many(10), (std::vector<order>{{3, "three"}}));
  EXPECT_TRUE(orders.try_pop_many(10).empty());
  EXPECT_TRUE(orders.pop_many_for(10, 1ms).empty());
}

TEST(Queue, PushManyTakesAnyRange) {
  queue<int> numbers;
  std::vector<int> all(5'000);
  std::generate(all.begin(), all.end(), [next = -2]() mutable { return next += 2; });
  numbers.push_many(std::list<int>(all.begin(), all.end()));
  int expected = 0;
  while (!numbers.empty()) {
    for (const int number : numbers.pop_many(100)) {
      ASSERT_EQ(number, expected);
      expected += 2;
    }
  }
  EXPECT_EQ(expected, 10'000);
}

TEST(Queue, PushManySaysHowManyThereWasRoomFor) {
  queue<pair> pairs(3);
  const std::vector<pair> five(5, pair{1, 2});
  EXPECT_EQ(pairs.try_push_many(five), 3U);
  EXPECT_TRUE(pairs.full());
  EXPECT_EQ(pairs.push_many_for(five, 1ms), 0U);
  EXPECT_EQ(pairs.pop_many(9).size(), 3U);
}

TEST(Queue, ManyValuesToAClosedQueueAreAnError) {
  queue<int> numbers;
  numbers.push(1);
  numbers.close();
  EXPECT_THROW(numbers.push_many(std::vector<int>{2}), shoal::error);
  EXPECT_EQ(numbers.pop_many(5), std::vector<int>{1});
  EXPECT_TRUE(numbers.pop_many(5).empty());
}

TEST(Queue, ALargeValueIsFilledAndReadInPlace) {
  queue<image> images;
  process producer([&] {
    for (std::uint32_t i = 0; i < 10; ++i) {
      auto room = images.reserve();
      room->width = i;
      room->height = 2 * i;
      room->pixels.fill(static_cast<std::uint8_t>(i));
      images.push(std::move(room));
    }
    images.close();
  });
  std::uint32_t count = 0;
  while (auto next = images.borrow()) {
    EXPECT_EQ((*next)->width, count);
    EXPECT_EQ((*next)->height, 2 * count);
    EXPECT_EQ((*next)->pixels.back(), count);
    ++count;
  }
  EXPECT_EQ(count, 10U);
  EXPECT_TRUE(producer.join().success());
}

TEST(Queue, ASmallValueCanBeBorrowedToo) {
  queue<pair> pairs;
  pairs.push({3, 4});
  auto got = pairs.borrow();
  ASSERT_TRUE(got.has_value());
  auto moved = std::move(*got);
  EXPECT_EQ(moved->second, 4);
}

TEST(Queue, ALeaseComesBackUnlessItIsAcknowledged) {
  queue<order> orders;
  orders.push({1, "first"});
  orders.push({2, "second"});
  {
    auto kept = orders.pop_lease();
    ASSERT_TRUE(kept.has_value());
    EXPECT_EQ((*kept)->text, "first");
    EXPECT_EQ(orders.leased_count(), 1U);
  }
  auto again = orders.try_pop_lease();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ((*again)->id, 1);
  EXPECT_TRUE(again->acknowledge());
  EXPECT_FALSE(again->active());
  auto second = orders.pop_lease_for(1ms);
  ASSERT_TRUE(second.has_value());
  second->give_back();
  EXPECT_EQ(orders.pop().id, 2);
  EXPECT_FALSE(orders.try_pop_lease().has_value());
}

TEST(Queue, AValueThatIsNoTIsNotTakenOnLeaseForEver) {
  queue<std::string> texts;
  queue<int> numbers = queue<int>::attach(texts.descriptors());
  texts.push("no number");
  EXPECT_THROW((void)numbers.pop_lease(), shoal::error);
  EXPECT_FALSE(numbers.try_pop_lease().has_value());
}

TEST(Queue, AWorkerThatIsKilledWithAValueLeavesItToTheNext) {
  queue<int> work;
  queue<int> taken;
  work.push(42);
  process victim([&] {
    auto mine = work.pop_lease();
    taken.push(**mine);
    (void)work.pop();  // nothing will come
  });
  EXPECT_EQ(taken.pop(), 42);
  victim.kill();
  EXPECT_TRUE(victim.join().signaled());
  EXPECT_EQ(work.pop_for(shoal::test::patience), 42);
}

}  // namespace
