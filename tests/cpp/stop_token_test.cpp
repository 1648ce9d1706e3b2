#include "shoal/stop_token.hpp"

#include <gtest/gtest.h>

#include "process_support.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::exit_status;
using shoal::process;
using shoal::stop_source;
using shoal::stop_token;
using shoal::test::patience;

TEST(StopToken, AFunctionInAnotherProcessIsAskedToStop) {
  stop_source source;
  process child([](const stop_token& token) { return token.wait_for(patience) && token.stop_requested() ? 0 : 1; },
                source.get_token());
  EXPECT_FALSE(source.stop_requested());
  source.request_stop();
  EXPECT_EQ(child.join(), exit_status::exited_with(0));
}

TEST(StopToken, AChildCanAskItsParentToStop) {
  stop_source source;
  const stop_token token = source.get_token();
  process child([&] { source.request_stop(); });
  EXPECT_TRUE(token.wait_for(patience));
  child.join();
}

TEST(StopToken, WaitingGivesUpIfNobodyAsks) {
  const stop_source source;
  EXPECT_FALSE(source.get_token().wait_for(1ms));
  EXPECT_FALSE(source.get_token().wait_until(shoal::no_waiting));
}

TEST(StopToken, ARequestIsSeenByAllTokensForEver) {
  stop_source source;
  const stop_token before = source.get_token();
  source.request_stop();
  source.request_stop();
  EXPECT_TRUE(before.stop_requested());
  EXPECT_TRUE(source.stop_requested());
  EXPECT_TRUE(source.get_token().wait_until(shoal::no_waiting));
}

TEST(StopToken, WithoutASourceNobodyCanAsk) {
  const stop_token none;
  EXPECT_FALSE(none.stop_possible());
  EXPECT_FALSE(none.stop_requested());
  EXPECT_FALSE(none.wait_for(1ms));
  EXPECT_TRUE(stop_source().get_token().stop_possible());
}

TEST(StopToken, AHandleIsEnoughToAttachInAnotherProcess) {
  const stop_source source;
  const stop_token attached(source.native_handle());
  const stop_source again(source.get_token().native_handle());
  again.request_stop();
  EXPECT_TRUE(attached.stop_requested());
  EXPECT_TRUE(source.stop_requested());
}

}  // namespace
