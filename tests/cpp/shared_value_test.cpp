#include "shoal/shared_value.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <list>
#include <mutex>
#include <numeric>
#include <ranges>
#include <span>
#include <vector>

#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"
#include "shoal/shared_array.hpp"

namespace {

using shoal::process;
using shoal::shared_array;
using shoal::shared_handle;
using shoal::shared_value;
using shoal::test::open_descriptors;

struct account {
  int balance = 7;
  std::array<double, 3> rates{};
};

struct no_default {
  explicit no_default(int given) : number(given) {}
  int number;
};

static_assert(std::ranges::contiguous_range<shared_array<int>> && std::ranges::sized_range<shared_array<int>>);
static_assert(std::ranges::contiguous_range<const shared_array<int>>);
static_assert(std::convertible_to<shared_array<int>&, std::span<int>>);
static_assert(!std::convertible_to<const shared_array<int>&, std::span<int>>);
static_assert(!std::default_initializable<shared_value<no_default>>);
static_assert(!std::copyable<shared_value<int>> && std::movable<shared_value<int>>);
static_assert(!std::copyable<shared_array<int>> && std::movable<shared_array<int>>);

TEST(SharedValue, IsValueInitialisedOrACopy) {
  EXPECT_EQ(*shared_value<int>(), 0);
  EXPECT_EQ(*shared_value<int>(42), 42);
  EXPECT_EQ(shared_value<account>()->balance, 7);
  EXPECT_EQ(shared_value<account>(account{.balance = 1, .rates = {1, 2, 3}})->rates[2], 3);
  EXPECT_EQ(shared_value<no_default>(no_default(5)).get().number, 5);
}

TEST(SharedValue, IsSharedWithAChild) {
  shared_value<account> shared;
  process child([&] { shared->balance = 99; });
  EXPECT_TRUE(child.join().success());
  EXPECT_EQ(shared->balance, 99);
}

TEST(SharedValue, CountsRightUnderItsMutex) {
  shared_value<long> counter;
  constexpr int each = 2'000;
  std::vector<process> running;
  for (int p = 0; p < 3; ++p) {
    running.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        const std::scoped_lock lock(counter.mutex());
        const std::scoped_lock again(counter.mutex());
        *counter = *counter + 1;
      }
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(one.join().success());
  }
  EXPECT_EQ(*counter, 3L * each);
}

TEST(SharedValue, CountsRightAtomically) {
  shared_value<unsigned char> small;
  shared_value<double> real;
  std::vector<process> running;
  for (int p = 0; p < 3; ++p) {
    running.emplace_back([&] {
      for (int i = 0; i < 1'000; ++i) {
        small.atomic().fetch_add(1);
        real.atomic().fetch_add(0.5);
      }
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(one.join().success());
  }
  EXPECT_EQ(*small, static_cast<unsigned char>(3'000));
  EXPECT_EQ(*real, 1'500);
}

TEST(SharedValue, IsFoundByItsHandle) {
  shared_value<int> original(1);
  shared_value<int> same(original.native_handle());
  *same = 2;
  EXPECT_EQ(*original, 2);
  const std::scoped_lock lock(original.mutex());
  std::thread other([&] { EXPECT_FALSE(same.mutex().try_lock()); });
  other.join();
}

TEST(SharedValue, RefusesHandlesOfOtherTypes) {
  shared_value<int> original;
  const shared_handle handle = original.native_handle();
  EXPECT_THROW(shared_value<double>{handle}, shoal::error);
  EXPECT_THROW((shared_value<int>({.memory = handle.mutex, .mutex = handle.mutex})), shoal::error);
  shared_array<int> two{1, 2};
  EXPECT_THROW(shared_value<int>{two.native_handle()}, shoal::error);
}

TEST(SharedValue, TellsTheNextOfADeadHolder) {
  shared_value<account> shared;
  process victim([&] {
    shared.mutex().lock();
    shared->balance = -1;
    ::raise(SIGKILL);
  });
  EXPECT_TRUE(victim.join().signaled());
  EXPECT_THROW(shared.mutex().lock(), shoal::owner_died);
  shared->balance = 0;
  shared.mutex().consistent();
  shared.mutex().unlock();
  EXPECT_TRUE(shared.mutex().try_lock());
  shared.mutex().unlock();
}

TEST(SharedValue, LeavesNothingBehind) {
  (void)shared_value<int>();
  const auto before = open_descriptors();
  for (int i = 0; i < 100'000; ++i) {
    shared_value<account> made;
    ASSERT_EQ(made->balance, 7);
    made->balance = i;
  }
  EXPECT_LE(open_descriptors() - before, 1);
}

TEST(SharedValue, MovesWithItsMemory) {
  shared_value<int> first(1);
  int* const where = &*first;
  shared_value<int> second(std::move(first));
  EXPECT_EQ(&*second, where);
  second = shared_value<int>(3);
  EXPECT_EQ(*second, 3);
}

TEST(SharedArray, IsARangeLikeAnother) {
  shared_array<int> squares(10);
  EXPECT_TRUE(std::ranges::all_of(squares, [](int one) { return one == 0; }));
  std::iota(squares.begin(), squares.end(), 0);
  EXPECT_EQ(squares[3], 3);
  EXPECT_EQ(squares.at(9), 9);
  EXPECT_THROW((void)squares.at(10), std::out_of_range);
  const std::span<int> view = squares;
  EXPECT_EQ(view.size(), 10U);
  EXPECT_EQ(view.data(), squares.data());
  EXPECT_EQ(std::accumulate(squares.begin(), squares.end(), 0), 45);
}

TEST(SharedArray, IsMadeOfARange) {
  const std::vector<int> values{3, 1, 2};
  const shared_array<long> copied(values);
  EXPECT_TRUE(std::ranges::equal(copied, values));
  const shared_array<int> listed{1, 2, 3};
  EXPECT_EQ(listed.size(), 3U);
  const shared_array<int> counted(std::list{0, 1, 2, 3, 4});
  EXPECT_EQ(counted[4], 4);
  EXPECT_TRUE(shared_array<int>(0).empty());
  EXPECT_EQ(shared_array<account>(3)[2].balance, 7);
}

TEST(SharedArray, IsSharedAndFoundByItsHandle) {
  shared_array<double> original(1'000);
  process child([&] { original[999] = 0.5; });
  EXPECT_TRUE(child.join().success());
  const shared_array<double> same(original.native_handle());
  EXPECT_EQ(same.size(), 1'000U);
  EXPECT_EQ(same[999], 0.5);
  EXPECT_THROW(shared_array<int>{original.native_handle()}, shoal::error);
}

TEST(SharedArray, TakesMemoryOnlyForWhatIsWrittenTo) {
  shared_array<std::byte> huge(std::size_t{8} << 30);
  huge[huge.size() - 1] = std::byte{1};
  EXPECT_EQ(huge[huge.size() / 2], std::byte{0});
}

TEST(SharedArray, ThatCannotBeSoLargeIsRefused) {
  EXPECT_THROW(shared_array<double>(~std::size_t{0} / 4), std::bad_alloc);
}

TEST(SharedArray, CountsRightAtomically) {
  shared_array<int> counters(4);
  std::vector<process> running;
  for (int p = 0; p < 3; ++p) {
    running.emplace_back([&] {
      for (std::size_t i = 0; i < 4'000; ++i) {
        counters.atomic(i % 4).fetch_add(1);
      }
    });
  }
  for (process& one : running) {
    EXPECT_TRUE(one.join().success());
  }
  EXPECT_TRUE(std::ranges::all_of(counters, [](int one) { return one == 3'000; }));
}

}  // namespace
