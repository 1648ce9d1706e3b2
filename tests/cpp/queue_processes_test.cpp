#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "shoal/queue.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::queue;

constexpr auto patience = 20s;  // far more than anything here takes; a test that needs it has failed

struct point {
  double x, y;
};

// A child process that runs `body` and says by its exit status whether it returned true.
class child {
 public:
  template <class Body>
  explicit child(Body body) : pid_(::fork()) {
    if (pid_ == 0) {
      bool good = false;
      try {
        good = body();
      } catch (...) {
      }
      ::_exit(good ? 0 : 1);
    }
  }
  ~child() {
    if (pid_ > 0) {
      kill();
    }
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  // Waits for it, and kills it if that takes too long.
  bool succeeded() {
    const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    pollfd ended{descriptor, POLLIN, 0};
    const bool in_time = ::poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) == 1;
    ::close(descriptor);
    return in_time ? reap() == 0 : (kill(), false);
  }
  void kill() {
    ::kill(pid_, SIGKILL);
    reap();
  }

 private:
  int reap() {
    int status = -1;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

  pid_t pid_;
};

TEST(Queue, AChildsValuesArriveInOrderAndEndAtClose) {
  queue<std::string> lines(100);
  child producer([&] {
    for (int i = 0; i < 20000; ++i) {
      lines.push("line " + std::to_string(i));
    }
    lines.close();
    return true;
  });
  int next = 0;
  for (const std::string& line : lines) {
    ASSERT_EQ(line, "line " + std::to_string(next));
    ++next;
  }
  EXPECT_EQ(next, 20000);
  EXPECT_TRUE(producer.succeeded());
}

TEST(Queue, ParentAndChildAnswerEachOther) {
  queue<point> questions;
  queue<double> answers;
  child server([&] {
    for (const point& p : questions) {
      answers.push(p.x + p.y);
    }
    return true;
  });
  for (int i = 0; i < 1000; ++i) {
    questions.push({static_cast<double>(i), 0.5});
    ASSERT_EQ(answers.pop_for(patience), i + 0.5);
  }
  questions.close();
  EXPECT_TRUE(server.succeeded());
}

TEST(Queue, SeveralProducersAndConsumersLoseAndDoubleNothing) {
  constexpr int each = 10000;
  constexpr int processes = 3;
  queue<std::int64_t> numbers(64);
  queue<std::pair<int, std::int64_t>> totals;
  std::deque<child> consumers;
  std::deque<child> producers;
  for (int i = 0; i < processes; ++i) {
    consumers.emplace_back([&] {
      std::pair<int, std::int64_t> total;
      for (const std::int64_t number : numbers) {
        ++total.first;
        total.second += number;
      }
      totals.push(total);
      return true;
    });
    producers.emplace_back([&, i] {
      for (int n = 0; n < each; ++n) {
        numbers.push(std::int64_t{i} * each + n);
      }
      return true;
    });
  }
  for (child& producer : producers) {
    EXPECT_TRUE(producer.succeeded());
  }
  numbers.close();
  int count = 0;
  std::int64_t sum = 0;
  for (child& consumer : consumers) {
    EXPECT_TRUE(consumer.succeeded());
    const auto total = totals.pop_for(patience);
    ASSERT_TRUE(total.has_value());
    count += total->first;
    sum += total->second;
  }
  constexpr std::int64_t all = std::int64_t{each} * processes;
  EXPECT_EQ(count, all);
  EXPECT_EQ(sum, all * (all - 1) / 2);
}

TEST(Queue, AConsumerInAnotherProcessIsWokenFromItsSleep) {
  queue<int> numbers;
  queue<int> echoes;
  child echo([&] {
    const std::optional<int> number = numbers.pop_for(patience);
    echoes.push(number.value_or(-1));
    return number.has_value();
  });
  EXPECT_EQ(echoes.pop_for(20ms), std::nullopt);  // by then it sleeps; if not, the test is only weaker
  numbers.push(9);
  EXPECT_EQ(echoes.pop_for(patience), 9);
  EXPECT_TRUE(echo.succeeded());
}

TEST(Queue, ValuesOfAKilledProducerAreWholeOrAbsentAndTheQueueGoesOn) {
  for (std::size_t round = 0; round < 20; ++round) {
    queue<std::string> texts(1000);
    child producer([&] {
      for (std::size_t i = 0;; ++i) {
        texts.push(std::string(i % 3000, 'x'));
      }
      return true;
    });
    for (std::size_t i = 0; i < 50 * round; ++i) {
      ASSERT_EQ(texts.pop().size(), i % 3000);
    }
    producer.kill();
    std::size_t next = 50 * round;
    while (const auto text = texts.try_pop()) {
      ASSERT_EQ(*text, std::string(next % 3000, 'x'));
      ++next;
    }
    EXPECT_TRUE(texts.push_for("after", patience));
    EXPECT_EQ(texts.pop_for(patience), "after");
  }
}

}  // namespace
