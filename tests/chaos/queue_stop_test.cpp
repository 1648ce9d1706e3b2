// A process is stopped, not killed, while it holds a lock of a queue. Nobody can tell when it goes on; deadlines hold
// all the same.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>

#include "process_support.hpp"
#include "queue_under_kill.hpp"
#include "shoal/byte_queue.hpp"
#include "single_step.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::deadline;
using shoal::encoding;
using shoal::no_waiting;
using shoal::queue_status;
using shoal::record;
using shoal::test::bytes_of;
using shoal::test::fate;
using shoal::test::queue_under_kill;
using shoal::test::sample;
using shoal::test::stepped_process;
using std::chrono::steady_clock;

constexpr auto timeout = 150ms;
constexpr auto slack = 1500ms;  // of a busy machine; a hang is for ever

class QueueWithAStopped : public testing::Test {
 protected:
  void SetUp() override {
    if (!shoal::test::can_single_step) {
      GTEST_SKIP() << shoal::test::why_no_single_step;
    }
    at.poll_from_now_on();
  }

  // Goes on whenever it is interrupted, as the calls of queue<T> do.
  template <class Call>
  static queue_status again(Call call) {
    queue_status status{};
    do {
      status = call();
    } while (status == queue_status::interrupted);
    return status;
  }
  queue_status push(const std::string& text, deadline until) {
    return again([&] { return at.queue.push(encoding::raw, bytes_of(text), until); });
  }
  queue_status pop(deadline until) {
    record got;
    return again([&] { return at.queue.pop(got, until); });
  }

  /// Expects that `call`, to which the queue cannot agree, ends at its deadline, or as `at_once` if it must not wait.
  template <class Call>
  void expect_timeout(Call call, queue_status at_once) {
    const auto begin = steady_clock::now();
    EXPECT_EQ(call(after(timeout)), queue_status::timed_out);
    const auto took = steady_clock::now() - begin;
    EXPECT_GE(took, timeout);
    EXPECT_LT(took, timeout + slack);
    EXPECT_EQ(call(no_waiting), at_once);
    EXPECT_LT(steady_clock::now() - begin, took + slack);
  }

  queue_under_kill at{{.capacity = 100}};
};

// Instructions into the critical section.
class QueueWithAStoppedProcess : public QueueWithAStopped, public testing::WithParamInterface<int> {};

TEST_P(QueueWithAStoppedProcess, ThatPushesRefusesOtherProducersAtTheirDeadlinesAndServesConsumers) {
  at.push(20, 2);
  const std::string text = sample(7, 2'000);
  const auto push_text = [&] { return at.queue.push(encoding::raw, bytes_of(text), no_waiting) == queue_status::ok; };
  const fate stopped{
      .instructions = GetParam(), .signal = SIGSTOP, .when = [&] { return at.internals.holds_tail_lock(); }};
  stepped_process victim(push_text, stopped);
  ASSERT_TRUE(victim.wait_until_stopped());

  expect_timeout([&](deadline until) { return push("other", until); }, queue_status::busy);
  const std::size_t committed = at.queue.size();
  for (std::size_t taken = 0; taken < committed; ++taken) {
    EXPECT_EQ(pop(after(slack)), queue_status::ok);
  }
  expect_timeout([&](deadline until) { return pop(until); }, queue_status::timed_out);

  victim.send_signal(SIGCONT);
  EXPECT_TRUE(victim.join());
  EXPECT_EQ(at.queue.pushed(), 3U);
  at.expected.clear();
  if (committed == 2) {
    at.expected.push_back(text);
  }
  at.drain();
  at.go_on();
}

TEST_P(QueueWithAStoppedProcess, ThatPopsRefusesOtherConsumersAtTheirDeadlinesAndServesProducers) {
  at.push(20, 3);
  const auto pop_one = [&] {
    record got;
    return at.queue.pop(got, no_waiting) == queue_status::ok;
  };
  const fate stopped{
      .instructions = GetParam(), .signal = SIGSTOP, .when = [&] { return at.internals.holds_head_lock(); }};
  stepped_process victim(pop_one, stopped);
  ASSERT_TRUE(victim.wait_until_stopped());

  expect_timeout([&](deadline until) { return pop(until); }, queue_status::busy);
  at.push(20, 2);

  victim.send_signal(SIGCONT);
  EXPECT_TRUE(victim.join());
  at.expected.pop_front();
  at.drain();
  at.go_on();
}

TEST_P(QueueWithAStoppedProcess, ThatReservesRefusesOtherProducersAtTheirDeadlines) {
  const auto reserve = [&] {
    shoal::reserved_record made;
    return at.queue.reserve(made, 100'000, no_waiting) == queue_status::ok;
  };
  const fate stopped{
      .instructions = GetParam(), .signal = SIGSTOP, .when = [&] { return at.internals.holds_tail_lock(); }};
  stepped_process victim(reserve, stopped);
  ASSERT_TRUE(victim.wait_until_stopped());

  expect_timeout([&](deadline until) { return push("other", until); }, queue_status::busy);
  expect_timeout(
      [&](deadline until) {
        shoal::reserved_record made;
        return again([&] { return at.queue.reserve(made, 100'000, until); });
      },
      queue_status::busy);
  expect_timeout([&](deadline until) { return pop(until); }, queue_status::timed_out);

  victim.send_signal(SIGCONT);
  EXPECT_TRUE(victim.join());
  at.go_on();
}

TEST_P(QueueWithAStoppedProcess, ThatBorrowsRefusesOtherConsumersAtTheirDeadlinesAndServesProducers) {
  at.push(100'000, 2);
  const auto borrow = [&] {
    shoal::borrowed_record got;
    return at.queue.borrow(got, no_waiting) == queue_status::ok;
  };
  const fate stopped{
      .instructions = GetParam(), .signal = SIGSTOP, .when = [&] { return at.internals.holds_head_lock(); }};
  stepped_process victim(borrow, stopped);
  ASSERT_TRUE(victim.wait_until_stopped());

  expect_timeout(
      [&](deadline until) {
        shoal::borrowed_record got;
        return again([&] { return at.queue.borrow(got, until); });
      },
      queue_status::busy);
  at.push(100'000, 2);

  victim.send_signal(SIGCONT);
  EXPECT_TRUE(victim.join());
  at.expected.pop_front();
  at.drain();
  at.go_on();
}

TEST_P(QueueWithAStoppedProcess, ThatTakesALeaseRefusesOtherConsumersAtTheirDeadlinesAndServesProducers) {
  at.push(20, 3);
  shoal::lease own;
  ASSERT_EQ(at.queue.pop(own, no_waiting), queue_status::ok);
  at.expected.pop_front();
  const auto take = [&] {
    shoal::lease got;
    return at.queue.pop(got, no_waiting) == queue_status::ok && got.acknowledge();
  };
  const fate stopped{
      .instructions = GetParam(), .signal = SIGSTOP, .when = [&] { return at.internals.holds_head_lock(); }};
  stepped_process victim(take, stopped);
  ASSERT_TRUE(victim.wait_until_stopped());

  expect_timeout(
      [&](deadline until) {
        shoal::lease got;
        return again([&] { return at.queue.pop(got, until); });
      },
      queue_status::busy);
  expect_timeout([&](deadline until) { return again([&] { return own.give_back(until); }); }, queue_status::busy);
  EXPECT_TRUE(own.acknowledge()) << "this needs no lock";
  at.push(20, 2);

  victim.send_signal(SIGCONT);
  EXPECT_TRUE(victim.join());
  at.expected.pop_front();
  at.drain();
  at.go_on();
}

INSTANTIATE_TEST_SUITE_P(Instructions, QueueWithAStoppedProcess, testing::Values(1, 50, 120),
                         testing::PrintToStringParamName());

}  // namespace
