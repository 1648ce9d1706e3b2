// Producers and consumers that use batches, large records in place and leases, and every few milliseconds one of them
// is killed and replaced. Each record is taken once, or by one who died while he took it.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "process_support.hpp"
#include "queue_kill_support.hpp"
#include "shoal/byte_queue.hpp"
#include "shoal/process.hpp"
#include "single_step.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::byte_queue;
using shoal::const_bytes;
using shoal::encoding;
using shoal::no_waiting;
using shoal::process;
using shoal::queue_status;
using shoal::test::patience;
using shoal::test::shared;

constexpr std::size_t producers = 2;
constexpr std::size_t workers = 4;  // the rest are consumers
constexpr int kills_in_a_round = 300;
constexpr std::size_t batch = 16;
constexpr std::size_t most_leases_held = 3;

/// What the workers do, each time one of these.
struct load {
  shoal::queue_options options;
  bool single = false;
  bool batches = false;
  bool large = false;
  bool leases = false;
  bool polls = false;
};

enum class state : std::uint8_t { unknown, pushing, pushed, withdrawn };

/// What the workers of a round say they have done. Records are known by numbers.
struct ledger {
  static constexpr std::uint32_t most_records = 1 << 20;

  std::array<std::atomic<state>, most_records> states;
  std::array<std::atomic<std::uint8_t>, most_records> taken;  // so many times
  std::atomic<std::uint32_t> next_number;
  std::array<std::atomic<std::uint32_t>, workers> taking;  // so many may be gone if the worker dies now
  std::atomic<std::uint32_t> allowed;  // so many records by now: the load lasts as long as the killing
  std::atomic<bool> no_more_pushes;
  std::atomic<bool> no_more_pops;
};

enum exit_code { good, closed, torn, out_of_memory };

std::string make(std::uint32_t number, bool is_large) {
  const std::uint32_t mixed = number * 2'654'435'761U >> 8;
  std::string text(is_large ? 100'000 + mixed % 10'000 : sizeof number + mixed % 300, static_cast<char>(number * 31));
  std::memcpy(text.data(), &number, sizeof number);
  return text;
}

/// What every worker has.
class worker {
 public:
  worker(byte_queue& queue, ledger& said, const load& does, std::size_t index)
      : queue_(queue), said_(said), does_(does), index_(index), random_(std::random_device{}()) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    shoal::test::refuse_death_notices();
    for (const auto& [is_done, what] : {std::pair(does.single, single), std::pair(does.batches, batches),
                                        std::pair(does.large, large), std::pair(does.leases, leases)}) {
      if (is_done) {
        choice_.push_back(what);
      }
    }
  }

 protected:
  enum kind { single, batches, large, leases };
  kind choose() { return choice_[random_() % choice_.size()]; }

  byte_queue& queue_;
  ledger& said_;
  const load& does_;
  std::size_t index_;
  std::mt19937 random_;

 private:
  std::vector<kind> choice_;
};

class producer : worker {
 public:
  using worker::worker;

  int run() {
    try {
      while (!said_.no_more_pushes) {
        if (said_.next_number >= said_.allowed) {
          std::this_thread::sleep_for(100us);
        } else if (const queue_status status = push(); status == queue_status::closed) {
          return closed;
        }
      }
      return good;
    } catch (const std::bad_alloc&) {
      return out_of_memory;
    }
  }

 private:
  queue_status push() {
    switch (choose()) {
      case batches:
        return push_many();
      case large:
        return random_() % 2 == 0 ? push_one(true) : push_reserved();
      case single:
      case leases:
        break;
    }
    return push_one(false);
  }

  queue_status push_one(bool is_large) {
    const std::uint32_t number = begin();
    const std::string text = make(number, is_large);
    const queue_status status =
        wait_and([&](shoal::deadline until) { return queue_.push(encoding::raw, shoal::test::bytes_of(text), until); });
    end(number, status == queue_status::ok);
    return status;
  }

  queue_status push_many() {
    std::array<std::uint32_t, batch> numbers{};
    std::array<std::string, batch> texts;
    std::array<const_bytes, batch> parts;
    std::array<shoal::outgoing_record, batch> records;
    for (std::size_t i = 0; i < batch; ++i) {
      numbers[i] = begin();
      texts[i] = make(numbers[i], false);
      parts[i] = shoal::test::bytes_of(texts[i]);
      records[i] = {encoding::raw, {&parts[i], 1}};
    }
    std::size_t pushed = 0;
    const queue_status status =
        wait_and([&](shoal::deadline until) { return queue_.push_many(records, pushed, until); });
    for (std::size_t i = 0; i < batch; ++i) {
      end(numbers[i], i < pushed);
    }
    return status;
  }

  queue_status push_reserved() {
    const std::uint32_t number = begin();
    const std::string text = make(number, true);
    shoal::reserved_record made;
    queue_status status = queue_.reserve(made, text.size(), after(100ms));
    if (status == queue_status::ok) {
      std::memcpy(made.bytes().data(), text.data(), text.size());
      status = wait_and([&](shoal::deadline until) { return queue_.push(encoding::raw, made, until); });
    }
    end(number, status == queue_status::ok);
    return status;
  }

  template <class Push>
  queue_status wait_and(Push push) {
    if (!does_.polls) {
      return push(after(100ms));
    }
    pollfd room{.fd = queue_.room_handle(), .events = POLLIN, .revents = 0};
    ::poll(&room, 1, 100);
    return push(no_waiting);
  }

  std::uint32_t begin() {
    const std::uint32_t number = said_.next_number++;
    said_.states[number] = state::pushing;
    return number;
  }
  void end(std::uint32_t number, bool is_pushed) {
    said_.states[number] = is_pushed ? state::pushed : state::withdrawn;
  }
};

class consumer : worker {
 public:
  using worker::worker;

  int run() {
    for (;;) {
      if (does_.polls) {
        pollfd readable{.fd = queue_.native_handle(), .events = POLLIN, .revents = 0};
        ::poll(&readable, 1, 50);
      }
      switch (take(does_.polls ? no_waiting : after(50ms))) {
        case queue_status::closed:
          return closed;
        case queue_status::ok:
          break;
        default:
          held_.clear();
          read_.clear();
          if (said_.no_more_pops && queue_.empty() && queue_.leased() == 0) {
            return is_good_ ? good : torn;
          }
      }
      if (!is_good_) {
        return torn;
      }
    }
  }

 private:
  queue_status take(shoal::deadline until) {
    switch (choose()) {
      case single:
        return pop(until);
      case batches:
        return pop_many(until);
      case large:
        return borrow(until);
      case leases:
        break;
    }
    return lease(until);
  }

  queue_status pop(shoal::deadline until) {
    said_.taking[index_] = 1;
    const queue_status status = queue_.pop(got_, until);
    if (status == queue_status::ok) {
      took(got_.bytes());
    }
    said_.taking[index_] = 0;
    return status;
  }

  queue_status pop_many(shoal::deadline until) {
    shoal::record_batch got;
    said_.taking[index_] = batch;
    const queue_status status = queue_.pop_many(got, batch, until);
    for (std::size_t i = 0; i < got.size(); ++i) {
      took(got[i].bytes);
    }
    said_.taking[index_] = 0;
    return status;
  }

  // Reads it once more after some others: nobody may have written there meanwhile.
  queue_status borrow(shoal::deadline until) {
    shoal::borrowed_record got;
    said_.taking[index_] = 1;
    const queue_status status = queue_.borrow(got, until);
    if (status == queue_status::ok) {
      took(got.bytes());
      read_.push_back(std::move(got));
    }
    said_.taking[index_] = 0;
    if (read_.size() > 2) {
      (void)number_of(read_.front().bytes());
      read_.pop_front();
    }
    return status;
  }

  // Some are acknowledged, some are given back, some end.
  queue_status lease(shoal::deadline until) {
    shoal::lease got;
    const queue_status status = queue_.pop(got, until);
    if (status == queue_status::ok) {
      (void)number_of(got.bytes());
      held_.push_back(std::move(got));
    }
    while (held_.size() > (status == queue_status::ok ? random_() % most_leases_held : 0)) {
      const std::uint32_t chance = random_() % 8;
      if (chance == 0) {
        (void)held_.front().give_back(after(patience));
      } else if (chance > 1) {
        said_.taking[index_] = 1;
        if (held_.front().acknowledge()) {
          took(held_.front().bytes());
        }
        said_.taking[index_] = 0;
      }
      held_.pop_front();
    }
    return status;
  }

  void took(const_bytes bytes) { ++said_.taken[number_of(bytes)]; }

  std::uint32_t number_of(const_bytes bytes) {
    std::uint32_t number = 0;
    if (bytes.size() >= sizeof number) {
      std::memcpy(&number, bytes.data(), sizeof number);
    }
    number %= ledger::most_records;
    const std::string expected = make(number, bytes.size() >= byte_queue::large);
    is_good_ = is_good_ && std::ranges::equal(bytes, shoal::test::bytes_of(expected));
    return number;
  }

  shoal::record got_;
  std::deque<shoal::borrowed_record> read_;
  std::deque<shoal::lease> held_;
  bool is_good_ = true;
};

class QueueUnderMixedLoadAndRandomKills : public testing::Test {
 protected:
  void test(const load& does) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    byte_queue queue(does.options);
    const shoal::test::queue_internals internals(queue);
    if (does.polls) {
      (void)queue.native_handle();
      (void)queue.room_handle();
    }
    const int rounds = shoal::test::chaos_is_long() ? 10'000 / kills_in_a_round + 1 : 1;
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      run_round(queue, does);
      recover(queue);
      EXPECT_EQ(internals.misplaced(), "");
    }
    RecordProperty("kills", rounds * kills_in_a_round);
    RecordProperty("records", std::to_string(queue.pushed()));
    std::printf("%d kills, %llu records, %llu of them taken by a consumer that died of it; the queue has %u chunks\n",
                rounds * kills_in_a_round, static_cast<unsigned long long>(queue.pushed()),
                static_cast<unsigned long long>(lost_with_consumers_), internals.chunk_count());
  }

 private:
  void run_round(byte_queue& queue, const load& does) {
    const shared<ledger> said;
    const std::uint64_t pushed_before = queue.pushed();
    std::uint64_t may_be_lost = 0;
    std::vector<process> running;
    const auto start = [&](std::size_t index) {
      return index < producers ? process([&, index] { return producer(queue, *said, does, index).run(); })
                               : process([&, index] { return consumer(queue, *said, does, index).run(); });
    };
    for (std::size_t index = 0; index < workers; ++index) {
      running.push_back(start(index));
    }
    for (int kill = 0; kill < kills_in_a_round && !HasFailure(); ++kill) {
      said->allowed = (ledger::most_records - 1'000) / kills_in_a_round * static_cast<std::uint32_t>(kill + 1);
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 4'000));
      const std::size_t victim = random_() % workers;
      running[victim].kill();
      const shoal::exit_status status = running[victim].join();
      EXPECT_TRUE(status.signaled()) << "a worker ended by itself: " << to_string(status);
      may_be_lost += said->taking[victim].exchange(0);
      running[victim] = start(victim);
    }
    said->no_more_pushes = true;
    end(running, 0, producers);
    said->no_more_pops = true;
    end(running, producers, workers);
    if (!HasFailure()) {
      EXPECT_EQ(queue.leased(), 0U);
      EXPECT_TRUE(queue.empty());
      check(*said, queue.pushed() - pushed_before, may_be_lost);
    }
  }

  static void end(std::vector<process>& running, std::size_t first, std::size_t last) {
    for (std::size_t index = first; index < last; ++index) {
      const auto status = running[index].join_for(patience);
      if (status) {
        EXPECT_TRUE(status->success()) << to_string(*status);
      } else {
        ADD_FAILURE() << (index < producers ? "a producer" : "a consumer") << " hangs";
        running[index].kill();
        (void)running[index].join();
      }
    }
  }

  // Locks both ends, in place of the last who died there.
  static void recover(byte_queue& queue) {
    std::size_t dropped = 0;
    EXPECT_EQ(queue.clear(dropped, after(patience)), queue_status::ok);
    EXPECT_EQ(dropped, 0U);
  }

  void check(const ledger& said, std::uint64_t pushed, std::uint64_t may_be_lost) {
    EXPECT_GT(pushed, std::uint64_t{kills_in_a_round}) << "hardly anything has moved";
    std::uint64_t taken = 0;
    std::uint64_t missing = 0;
    for (std::uint32_t number = 0; number < said.next_number; ++number) {
      const std::uint32_t times = said.taken[number];
      const state told = said.states[number];
      taken += times;
      missing += told == state::pushed && times == 0 ? 1 : 0;
      ASSERT_LE(times, 1U) << "record " << number << " was taken twice";
      ASSERT_FALSE(told == state::withdrawn && times != 0) << "record " << number << " was not pushed, and taken";
    }
    EXPECT_LE(taken, pushed);
    EXPECT_LE(missing, pushed - taken);
    EXPECT_LE(pushed - taken, may_be_lost) << "lost";
    lost_with_consumers_ += pushed - taken;
  }

  std::mt19937 random_;
  std::uint64_t lost_with_consumers_ = 0;
};

TEST_F(QueueUnderMixedLoadAndRandomKills, LosesNothingOfBatches) {
  test({.options = {.capacity = 100, .max_bytes = 4 << 20}, .batches = true});
}

// What is lost would soon leave no memory.
TEST_F(QueueUnderMixedLoadAndRandomKills, LosesNeitherLargeRecordsNorTheirMemory) {
  test({.options = {.capacity_bytes = 4 << 20, .max_bytes = 16 << 20}, .large = true});
}

TEST_F(QueueUnderMixedLoadAndRandomKills, LosesNothingOnLease) {
  test({.options = {.capacity = 100, .max_bytes = 16 << 20}, .leases = true});
}

TEST_F(QueueUnderMixedLoadAndRandomKills, LosesNothingIfAllIsMixed) {
  test({.options = {.capacity_bytes = 4 << 20, .max_bytes = 32 << 20},
        .single = true,
        .batches = true,
        .large = true,
        .leases = true});
}

TEST_F(QueueUnderMixedLoadAndRandomKills, LosesNothingIfAllIsMixedAndPolled) {
  test({.options = {.capacity = 100, .capacity_bytes = 4 << 20, .max_bytes = 32 << 20},
        .single = true,
        .batches = true,
        .large = true,
        .leases = true,
        .polls = true});
}

}  // namespace
