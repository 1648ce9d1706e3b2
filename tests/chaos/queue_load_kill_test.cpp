// Producers and consumers at full speed, and every few milliseconds one of them is killed and replaced.

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
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "process_support.hpp"
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
using shoal::queue_options;
using shoal::queue_status;
using shoal::record;
using shoal::test::patience;
using shoal::test::shared;

constexpr int producers = 2;
constexpr int workers = 4;  // the rest are consumers
constexpr int kills_in_a_round = 300;

/// What a record begins with; what follows is told by it.
struct stamp {
  std::uint32_t producer;  // each replacement is another one
  std::uint32_t number;    // 0, 1, 2, ... for each producer

  [[nodiscard]] std::size_t length() const {
    const std::uint32_t mixed = (producer * 40'503 + number) * 2'654'435'761U >> 8;
    const std::size_t longest = mixed % 1'024 == 0 ? 150'000 : mixed % 64 == 0 ? 9'000 : 300;
    return sizeof(stamp) + mixed % longest;
  }
  [[nodiscard]] char filling() const { return static_cast<char>(producer * 31 + number); }
  [[nodiscard]] std::uint64_t packed() const { return (std::uint64_t{producer} << 32 | number) + 1; }
  static stamp unpacked(std::uint64_t packed) {
    return {static_cast<std::uint32_t>((packed - 1) >> 32), static_cast<std::uint32_t>(packed - 1)};
  }
};

/// What the workers of a round say they have done.
struct ledger {
  static constexpr std::size_t most_records = 1 << 20;

  std::array<std::atomic<std::uint64_t>, most_records>
      taken;  // by ticket, from the first of the round on: its packed stamp
  std::array<std::atomic<std::uint32_t>, kills_in_a_round + producers> pushed;  // by producer
  std::array<std::atomic<std::uint64_t>, workers> claims;
  std::atomic<std::uint64_t> allowed;  // so many records by now: the load is to last as long as the killing
  std::atomic<bool> no_more_pushes;
  std::atomic<bool> no_more_pops;
};

enum exit_code { good, closed, torn, taken_twice };

int produce(byte_queue& queue, ledger& said, std::uint64_t first_ticket, std::uint32_t producer) {
  constexpr std::size_t enough_waiting = 5'000;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::string text;
  for (stamp next{.producer = producer, .number = 0}; !said.no_more_pushes;) {
    if (queue.size() >= enough_waiting || queue.pushed() - first_ticket >= said.allowed) {
      std::this_thread::sleep_for(100us);
      continue;
    }
    text.assign(next.length(), next.filling());
    std::memcpy(text.data(), &next, sizeof next);
    switch (queue.push(encoding::raw, std::as_bytes(std::span(text)), after(100ms))) {
      case queue_status::ok:
        said.pushed[producer] = ++next.number;
        break;
      case queue_status::closed:
        return closed;
      case queue_status::timed_out:
      case queue_status::interrupted:
      case queue_status::busy:
        break;
    }
  }
  return good;
}

bool is_whole(const record& got) {
  const auto bytes = got.bytes();
  stamp found{};
  if (bytes.size() < sizeof found) {
    return false;
  }
  std::memcpy(&found, bytes.data(), sizeof found);
  const auto filling = static_cast<std::byte>(found.filling());
  const auto filled = bytes.subspan(sizeof found);
  return bytes.size() == found.length() &&
         std::all_of(filled.begin(), filled.end(), [=](std::byte b) { return b == filling; });
}

int consume(byte_queue& queue, ledger& said, std::uint64_t first_ticket, std::atomic<std::uint64_t>& claim,
            bool polls) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  record got;
  for (;;) {
    if (polls) {
      pollfd readable{.fd = queue.native_handle(), .events = POLLIN, .revents = 0};
      ::poll(&readable, 1, 50);
    }
    switch (queue.pop(got, claim, polls ? no_waiting : after(50ms))) {
      case queue_status::ok: {
        if (!is_whole(got)) {
          return torn;
        }
        stamp found{};
        std::memcpy(&found, got.bytes().data(), sizeof found);
        if (said.taken[claim - 1 - first_ticket].exchange(found.packed()) != 0) {
          return taken_twice;
        }
        break;
      }
      case queue_status::closed:
        return closed;
      case queue_status::timed_out:
      case queue_status::interrupted:
      case queue_status::busy:
        if (said.no_more_pops && queue.empty()) {
          return good;
        }
    }
  }
}

class QueueUnderLoadAndRandomKills : public testing::Test {
 protected:
  void test(const queue_options& options, bool polls) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_.seed(seed);
    byte_queue queue(options);
    if (polls) {
      readiness_ = queue.native_handle();
    }
    const int rounds = shoal::test::chaos_is_long() ? 10'000 / kills_in_a_round + 1 : 1;
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      run_round(queue);
    }
    RecordProperty("kills", rounds * kills_in_a_round);
    RecordProperty("records", std::to_string(queue.pushed()));
    RecordProperty("records_taken_by_the_dead", std::to_string(lost_with_consumers_));
    std::printf("%d kills, %llu records, %llu of them taken by a consumer that died of it\n", rounds * kills_in_a_round,
                static_cast<unsigned long long>(queue.pushed()), static_cast<unsigned long long>(lost_with_consumers_));
  }

 private:
  void run_round(byte_queue& queue) {
    const shared<ledger> said;
    const std::uint64_t first_ticket = queue.pushed();
    std::set<std::uint64_t> claims_of_the_dead;
    std::uint32_t started_producers = 0;
    const auto start = [&](std::size_t worker) {
      said->claims[worker] = 0;
      if (worker < producers) {
        return process(produce, std::ref(queue), std::ref(*said), first_ticket, started_producers++);
      }
      return process(consume, std::ref(queue), std::ref(*said), first_ticket, std::ref(said->claims[worker]),
                     readiness_.has_value());
    };
    std::vector<process> running;
    for (std::size_t worker = 0; worker < workers; ++worker) {
      running.push_back(start(worker));
    }
    for (int kill = 0; kill < kills_in_a_round; ++kill) {
      said->allowed = (ledger::most_records - workers) / kills_in_a_round * static_cast<std::uint64_t>(kill + 1);
      watch_readiness(queue, std::chrono::microseconds(random_() % 4'000));
      const std::size_t victim = random_() % workers;
      running[victim].kill();
      const shoal::exit_status status = running[victim].join();
      EXPECT_TRUE(status.signaled()) << "a worker ended by itself: " << to_string(status);
      claims_of_the_dead.insert(said->claims[victim]);
      running[victim] = start(victim);
    }
    said->no_more_pushes = true;
    end(running, 0, producers);
    said->no_more_pops = true;
    end(running, producers, workers);
    EXPECT_EQ(queue.pushed(), queue.popped());
    if (!HasFailure()) {
      check(*said, first_ticket, queue.pushed() - first_ticket, claims_of_the_dead, started_producers);
    }
  }

  // A descriptor that is not readable means that all which was pushed before has been popped by then.
  void watch_readiness(const byte_queue& queue, std::chrono::microseconds duration) const {
    if (!readiness_) {
      std::this_thread::sleep_for(duration);
      return;
    }
    for (const shoal::deadline until = after(duration); std::chrono::steady_clock::now() < until;) {
      const std::uint64_t pushed = queue.pushed();
      pollfd polled{.fd = *readiness_, .events = POLLIN, .revents = 0};
      if (::poll(&polled, 1, 0) == 0) {
        EXPECT_GE(queue.popped(), pushed) << "not empty, and not readable";
      }
      std::this_thread::sleep_for(100us);
    }
  }

  static void end(std::vector<process>& running, std::size_t first, std::size_t last) {
    for (std::size_t worker = first; worker < last; ++worker) {
      const auto status = running[worker].join_for(patience);
      if (status) {
        EXPECT_TRUE(status->success()) << to_string(*status);
      } else {
        ADD_FAILURE() << (worker < producers ? "a producer" : "a consumer") << " hangs";
        running[worker].kill();
        (void)running[worker].join();
      }
    }
  }

  // Every record was taken by one who said so, or by one who died before it could; each producer's in order.
  void check(const ledger& said, std::uint64_t first_ticket, std::uint64_t count,
             const std::set<std::uint64_t>& claims_of_the_dead, std::uint32_t started_producers) {
    EXPECT_GT(count, std::uint64_t{kills_in_a_round}) << "hardly anything has moved";
    std::vector<std::uint32_t> next(started_producers);
    std::uint64_t untold = 0;
    std::uint64_t missing = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t packed = said.taken[i];
      if (packed == 0) {
        ++untold;
        EXPECT_TRUE(claims_of_the_dead.contains(first_ticket + i + 1)) << "record " << i << " was taken by nobody";
        continue;
      }
      const stamp found = stamp::unpacked(packed);
      ASSERT_LT(found.producer, started_producers);
      ASSERT_GE(found.number, next[found.producer]) << "out of order, or taken twice";
      missing += found.number - next[found.producer];
      ASSERT_LE(missing, untold) << "lost: a record of producer " << found.producer << " before number "
                                 << found.number;
      next[found.producer] = found.number + 1;
    }
    std::uint64_t perhaps = 0;  // a last record each that its producer could not tell of any more
    for (std::uint32_t producer = 0; producer < started_producers; ++producer) {
      const std::uint32_t told = said.pushed[producer];
      ASSERT_LE(next[producer], told + 1) << "taken, but never pushed";
      missing += told > next[producer] ? told - next[producer] : 0;
      perhaps += next[producer] <= told ? 1 : 0;
    }
    EXPECT_LE(missing, untold) << "lost";
    EXPECT_GE(missing + perhaps, untold) << "there were more records than were pushed";
    lost_with_consumers_ += untold;
  }

  std::mt19937 random_;
  std::optional<int> readiness_;
  std::uint64_t lost_with_consumers_ = 0;
};

TEST_F(QueueUnderLoadAndRandomKills, LosesAndDoublesNothing) { test({.max_bytes = 256 << 20}, false); }

TEST_F(QueueUnderLoadAndRandomKills, LosesAndDoublesNothingIfItIsBounded) {
  test({.capacity = 16, .max_bytes = 16 << 20}, false);
}

TEST_F(QueueUnderLoadAndRandomKills, LosesAndDoublesNothingIfItIsPolled) { test({.max_bytes = 256 << 20}, true); }

TEST_F(QueueUnderLoadAndRandomKills, LosesAndDoublesNothingIfItIsBoundedAndPolled) {
  test({.capacity = 16, .max_bytes = 16 << 20}, true);
}

}  // namespace
