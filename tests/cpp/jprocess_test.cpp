#include "shoal/jprocess.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <string>
#include <utility>

#include "process_support.hpp"
#include "shoal/event.hpp"
#include "shoal/queue.hpp"
#include "start_method_support.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::exit_status;
using shoal::jprocess;
using shoal::process_options;
using shoal::start_method;
using shoal::stop_source;
using shoal::stop_token;
using shoal::test::becomes_readable;

class JProcess : public shoal::test::by_each_method {};

INSTANTIATE_BY_EACH_METHOD(JProcess);

int wait_for_stop(stop_token stop, shoal::event& running) {
  running.set();
  return stop.wait_for(20s) ? 5 : 1;
}

TEST_P(JProcess, IsStoppedAndJoinedByItsDestructor) {
  shoal::event running;
  pid_t id = 0;
  {
    const jprocess child(by_method(), wait_for_stop, std::ref(running));
    id = child.id();
    ASSERT_TRUE(running.wait_for(20s));
  }
  EXPECT_EQ(::kill(id, 0), -1);
}

TEST_P(JProcess, IsAskedToStopByHand) {
  shoal::event running;
  jprocess child(by_method(), wait_for_stop, std::ref(running));
  EXPECT_FALSE(child.get_stop_token().stop_requested());
  EXPECT_TRUE(child.request_stop());
  EXPECT_FALSE(child.request_stop());
  EXPECT_EQ(child.join().code(), 5);
}

TEST_P(JProcess, RunsAFunctionThatTakesNoToken) {
  jprocess child(
      by_method(), [](int value) { return value; }, 3);
  EXPECT_FALSE(child.request_stop());
  EXPECT_FALSE(child.get_stop_token().stop_possible());
  EXPECT_EQ(child.join().code(), 3);
}

TEST_P(JProcess, AssignmentStopsAndJoinsTheFormerOne) {
  shoal::event running;
  jprocess child(by_method(), wait_for_stop, std::ref(running));
  const pid_t first = child.id();
  child = jprocess(by_method(), [] { return 4; });
  EXPECT_EQ(::kill(first, 0), -1);
  EXPECT_EQ(child.join().code(), 4);
}

TEST_P(JProcess, FailureOfTheFunctionIsLeftToJoin) {
  {
    const jprocess child(by_method(), [] { throw 1; });
  }
  jprocess child(by_method(), [] { throw 1; });
  EXPECT_THROW(child.join(), shoal::remote_error);
}

TEST_P(JProcess, OneSourceStopsMany) {
  const stop_source source;
  const auto wait = [](const stop_token& stop) {
    return becomes_readable(stop.readiness_handle()) && stop.stop_requested() ? 6 : 1;
  };
  std::array<shoal::process, 3> children;
  for (shoal::process& child : children) {
    child = shoal::process(by_method(), wait, source.get_token());
  }
  source.request_stop();
  for (shoal::process& child : children) {
    EXPECT_EQ(child.join().code(), 6);
  }
}

TEST_P(JProcess, AnyProcessMayAskToStop) {
  const stop_source source;
  shoal::process child(
      by_method(), [](const stop_source& ours) { ours.request_stop(); }, source);
  EXPECT_TRUE(source.get_token().wait_for(20s));
  child.join();
}

TEST(StopToken, ThatNobodyCanUseTimesOut) {
  const stop_token none;
  EXPECT_FALSE(none.stop_possible());
  EXPECT_FALSE(none.wait_for(1ms));
}

}  // namespace
