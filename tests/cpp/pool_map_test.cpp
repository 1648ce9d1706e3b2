// Functions of whole ranges.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "pool_support.hpp"
#include "process_support.hpp"
#include "shoal/error.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::pool;
using shoal::process;
using shoal::task_timed_out;
using shoal::worker_died;
using shoal::test::all_descriptors_but;
using shoal::test::becomes_readable;
using shoal::test::die;
using shoal::test::is_readable;
using shoal::test::shared;
using shoal::test::twice;
using shoal::test::words_of;

std::vector<int> numbers_below(int end) {
  std::vector<int> numbers(static_cast<std::size_t>(end));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

/// Counts without end.
class natural_numbers {
 public:
  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    explicit iterator(natural_numbers& from) : from_(&from) {}
    int operator*() const { return from_->next_; }
    iterator& operator++() {
      ++from_->next_;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t /*end*/) const { return false; }

   private:
    natural_numbers* from_;
  };
  iterator begin() { return iterator(*this); }
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }
  [[nodiscard]] int taken() const { return next_ + 1; }

 private:
  int next_ = 0;
};

TEST(PoolMap, ResultsNeedNoDefaultConstructor) {
  struct number {
    explicit number(int wrapped) : value(wrapped) {}
    int value;
  };
  pool workers(2);
  const auto results = workers.map([](int value) { return number(3 * value); }, numbers_below(5), 2);
  ASSERT_EQ(results.size(), 5U);
  EXPECT_EQ(results[4].value, 12);
}

TEST(PoolMap, ForEachThrowsResultsAway) {
  const shared<std::atomic<int>> sum;
  pool workers(2);
  workers.for_each([to = &*sum](int number) { return *to += number; }, numbers_below(101));
  EXPECT_EQ(*sum, 5050);
}

TEST(PoolMap, ReduceKeepsTheOrder) {
  pool workers(3);
  const std::vector<std::string> words{"a", "b", "c", "d", "e", "f", "g"};
  for (const std::size_t chunk_size : {0U, 1U, 2U, 100U}) {
    EXPECT_EQ(workers.reduce(words, std::string(">"), std::plus<>{}, {.chunk_size = chunk_size}), ">abcdefg");
  }
  EXPECT_EQ(workers.reduce(std::vector<std::string>{}, std::string("none")), "none");
  EXPECT_EQ(workers.reduce(numbers_below(1001), 0L), 500500);
}

TEST(PoolMap, TransformReduceCombinesWhatTheFunctionReturns) {
  pool workers(2);
  const auto length = [](const std::string& word) { return word.size(); };
  std::istringstream text("one three eleven");
  EXPECT_EQ(workers.transform_reduce(words_of{text}, std::size_t{1}, std::plus<>{}, length), 15U);
}

TEST(PoolMap, LazilyTakesABoundedNumberOfItems) {
  pool workers(2);
  natural_numbers numbers;
  int expected = 0;
  for (const int result : workers.map_lazily(twice, numbers, {.in_flight = 10})) {
    ASSERT_EQ(result, expected);
    expected += 2;
    ASSERT_LE(numbers.taken(), expected / 2 + 11);
    if (expected == 2000) {
      break;
    }
  }
}

TEST(PoolMap, LazilyWorksWithChunksAndTemporaries) {
  pool workers(2);
  std::vector<int> results;
  for (const int result : workers.map_lazily(twice, numbers_below(10), {.chunk_size = 3, .in_flight = 2})) {
    results.push_back(result);
  }
  EXPECT_EQ(results, (std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18}));
  for ([[maybe_unused]] const int none : workers.map_lazily(twice, std::vector<int>{})) {
    FAIL();
  }
}

TEST(PoolMap, LazilyGoesOnBehindAFailure) {
  pool workers(2);
  auto results = workers.map_lazily(
      [](int number) {
        if (number == 1) {
          throw std::out_of_range("one");
        }
        return number;
      },
      numbers_below(3));
  auto at = results.begin();
  EXPECT_EQ(*at, 0);
  EXPECT_THROW(++at, std::out_of_range);
  ++at;
  EXPECT_EQ(*at, 2);
  ++at;
  EXPECT_EQ(at, results.end());
}

TEST(PoolMap, LazyResultsPollReadableWhileTheNextNeedNotBeWaitedFor) {
  const shared<std::atomic<int>> allowed;
  pool workers(1);
  for (const std::size_t in_flight : {1U, 3U}) {
    *allowed = 0;
    const auto when_allowed = [allowed = &*allowed](int number) {
      while (*allowed <= number) {
        std::this_thread::sleep_for(1ms);
      }
      return number == 2 ? throw std::out_of_range("two") : number;
    };
    auto results = workers.map_lazily(when_allowed, numbers_below(5), {.chunk_size = 1, .in_flight = in_flight});
    const int polled = results.native_handle();
    decltype(results.begin()) at;
    for (int number = 0; number < 5; ++number) {
      EXPECT_FALSE(is_readable(polled)) << number;
      ++*allowed;
      ASSERT_TRUE(becomes_readable(polled)) << number;
      const auto advance = [&] { number == 0 ? void(at = results.begin()) : void(++at); };
      if (number == 2) {
        EXPECT_THROW(advance(), std::out_of_range);
      } else {
        advance();
        EXPECT_EQ(*at, number);
      }
    }
    EXPECT_TRUE(is_readable(polled));  // the end
    ++at;
    EXPECT_EQ(at, results.end());
    EXPECT_TRUE(is_readable(polled));
    EXPECT_EQ(results.native_handle(), polled);
  }
}

TEST(PoolMap, LazyResultsPollReadableThoughDescriptorsWereMissingAtFirst) {
  process program([] {
    const rlimit descriptors{.rlim_cur = 256, .rlim_max = 256};
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
    pool workers(1);
    auto results = workers.map_lazily(twice, numbers_below(3));
    for (std::size_t left = 0; left < 16; ++left) {
      try {
        const auto taken = all_descriptors_but(left);
        (void)results.native_handle();
        break;
      } catch (const std::system_error& error) {
        if (error.code() != std::errc::too_many_files_open) {
          return 1;
        }
      }
    }
    return becomes_readable(results.native_handle()) && *results.begin() == 0 ? 0 : 2;
  });
  EXPECT_EQ(program.join(), shoal::exit_status::exited_with(0));
}

TEST(PoolMap, LazyResultsPollReadableWithinAChunk) {
  pool workers(1);
  auto results = workers.map_lazily(twice, numbers_below(4), {.chunk_size = 2, .in_flight = 2});
  const int polled = results.native_handle();
  int expected = 0;
  ASSERT_TRUE(becomes_readable(polled));
  for (auto at = results.begin(); at != results.end(); ++at) {
    EXPECT_EQ(*at, expected);
    expected += 2;
    ASSERT_TRUE(becomes_readable(polled));
  }
  EXPECT_EQ(expected, 8);
  EXPECT_TRUE(is_readable(workers.map_lazily(twice, std::vector<int>{}).native_handle()));
}

TEST(PoolMap, DeathFailsTheMapWhenTheOthersAreDone) {
  const shared<std::atomic<int>> ran;
  pool workers(2);
  const auto fatal = [count = &*ran](int number) {
    ++*count;
    if (number == 3) {
      die();
    }
  };
  try {
    workers.for_each(fatal, numbers_below(20), {.chunk_size = 1});
    FAIL() << "nothing was thrown";
  } catch (const worker_died& death) {
    EXPECT_EQ(death.task(), 3U);
  }
  EXPECT_EQ(*ran, 20);
}

TEST(PoolMap, RetriesAndTimeoutsAreAChunks) {
  const shared<std::array<std::atomic<int>, 20>> runs;
  pool workers(2);
  const auto fatal_at_first = [counts = &*runs](int number) {
    if (++(*counts)[static_cast<std::size_t>(number)] == 1 && number % 5 == 0) {
      die();
    }
    return number;
  };
  EXPECT_EQ(workers.map(fatal_at_first, numbers_below(20), {.tasks = {.retries = 1}}), numbers_below(20));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ((*runs)[static_cast<std::size_t>(i)], i % 5 == 0 ? 2 : 1) << "each its own chunk";
  }

  const auto hang_at = [](int number) {
    if (number == 7) {
      shoal::test::sleep_for_long();
    }
    return number;
  };
  EXPECT_THROW(workers.map(hang_at, numbers_below(20), {.tasks = {.timeout = 200ms}}), task_timed_out);
}

TEST(PoolMap, FailureOfTheRangeIsThrownWhenNothingRunsAnyMore) {
  pool workers(2);
  workers.close();
  EXPECT_THROW(workers.map(twice, numbers_below(10)), shoal::error);
}

}  // namespace
