// Many records at once; bounds in bytes; counting what is done.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "byte_queue_support.hpp"
#include "process_support.hpp"
#include "shoal/process.hpp"

namespace {

using namespace std::chrono_literals;
using shoal::after;
using shoal::byte_queue;
using shoal::const_bytes;
using shoal::encoding;
using shoal::no_waiting;
using shoal::outgoing_record;
using shoal::process;
using shoal::queue_status;
using shoal::record_batch;
using shoal::test::bytes_of;
using shoal::test::is_readable;
using shoal::test::patience;
using shoal::test::pop;
using shoal::test::push;

/// Texts as push_many wants them.
class batch {
 public:
  explicit batch(const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      bytes_.push_back(bytes_of(text));
    }
    for (const const_bytes& bytes : bytes_) {
      records_.push_back({encoding::raw, {&bytes, 1}});
    }
  }
  [[nodiscard]] std::span<const outgoing_record> records() const { return records_; }

 private:
  std::vector<const_bytes> bytes_;
  std::vector<outgoing_record> records_;
};

std::vector<std::string> texts_of(const record_batch& from) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < from.size(); ++i) {
    texts.emplace_back(reinterpret_cast<const char*>(from[i].bytes.data()), from[i].bytes.size());
  }
  return texts;
}

std::vector<std::string> samples(std::size_t count, std::size_t length) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) {
    texts.push_back(std::to_string(i) + std::string(length, 'x'));
  }
  return texts;
}

TEST(ByteQueue, ABatchComesOutAsItWentIn) {
  byte_queue queue;
  const std::vector<std::string> texts = samples(1000, 100);  // over several chunks
  std::size_t pushed = 0;
  EXPECT_EQ(queue.push_many(batch(texts).records(), pushed), queue_status::ok);
  EXPECT_EQ(pushed, texts.size());
  EXPECT_EQ(queue.size(), texts.size());
  record_batch got;
  while (got.size() < texts.size()) {
    ASSERT_EQ(queue.pop_many(got, texts.size(), no_waiting), queue_status::ok);
  }
  EXPECT_EQ(texts_of(got), texts);
}

TEST(ByteQueue, ABatchMayHoldLargeRecordsAmongSmallOnes) {
  byte_queue queue;
  const std::vector<std::string> texts = {"a", std::string(200'000, 'b'), "c", "", std::string(40'000, 'd'), "e"};
  std::size_t pushed = 0;
  EXPECT_EQ(queue.push_many(batch(texts).records(), pushed), queue_status::ok);
  EXPECT_EQ(pushed, texts.size());
  record_batch got;
  while (got.size() < texts.size()) {
    ASSERT_EQ(queue.pop_many(got, texts.size(), no_waiting), queue_status::ok);
  }
  EXPECT_EQ(texts_of(got), texts);
}

TEST(ByteQueue, PopManyTakesWhatIsThereAndWaitsForNoMore) {
  byte_queue queue;
  record_batch got;
  EXPECT_EQ(queue.pop_many(got, 10, no_waiting), queue_status::timed_out);
  EXPECT_EQ(queue.pop_many(got, 0, no_waiting), queue_status::ok);
  push(queue, "1");
  push(queue, "2");
  EXPECT_EQ(queue.pop_many(got, 10, after(patience)), queue_status::ok);
  EXPECT_EQ(texts_of(got), (std::vector<std::string>{"1", "2"}));
}

TEST(ByteQueue, PopManyTakesNoMoreThanAskedFor) {
  byte_queue queue;
  for (int i = 0; i < 5; ++i) {
    push(queue, std::to_string(i));
  }
  record_batch got;
  EXPECT_EQ(queue.pop_many(got, 3, no_waiting), queue_status::ok);
  EXPECT_EQ(texts_of(got), (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(queue.size(), 2U);
}

TEST(ByteQueue, ABatchFillsABoundedQueueAndSaysHowFarItCame) {
  byte_queue queue({.capacity = 4});
  const std::vector<std::string> texts = samples(6, 1);
  std::size_t pushed = 0;
  EXPECT_EQ(queue.push_many(batch(texts).records(), pushed, no_waiting), queue_status::timed_out);
  EXPECT_EQ(pushed, 4U);
  EXPECT_EQ(queue.push_many(batch(texts).records().subspan(pushed), pushed, after(10ms)), queue_status::timed_out);
  EXPECT_EQ(pushed, 4U);
  record_batch got;
  EXPECT_EQ(queue.pop_many(got, 10, no_waiting), queue_status::ok);
  EXPECT_EQ(queue.push_many(batch(texts).records().subspan(4), pushed, no_waiting), queue_status::ok);
  EXPECT_EQ(pushed, 6U);
  EXPECT_EQ(queue.pop_many(got, 10, no_waiting), queue_status::ok);
  EXPECT_EQ(texts_of(got), texts);
}

TEST(ByteQueue, BatchesThroughABoundedQueueBetweenProcessesKeepTheirOrder) {
  byte_queue queue({.capacity = 7});
  const std::vector<std::string> texts = samples(5000, 10);
  process producer([&] {
    std::size_t pushed = 0;
    return queue.push_many(batch(texts).records(), pushed, after(patience)) == queue_status::ok ? 0 : 1;
  });
  record_batch got;
  while (got.size() < texts.size()) {
    const queue_status status = queue.pop_many(got, 5, after(patience));
    ASSERT_TRUE(status == queue_status::ok || status == queue_status::interrupted);
  }
  EXPECT_EQ(texts_of(got), texts);
  EXPECT_TRUE(producer.join().success());
}

TEST(ByteQueue, ABatchToAClosedQueueIsRefused) {
  byte_queue queue;
  queue.close();
  std::size_t pushed = 0;
  EXPECT_EQ(queue.push_many(batch({"x"}).records(), pushed), queue_status::closed);
  EXPECT_EQ(pushed, 0U);
}

TEST(ByteQueue, ABoundInBytesTakesNoMoreOnceItIsReached) {
  byte_queue queue({.capacity_bytes = 1000});
  EXPECT_EQ(queue.capacity_bytes(), 1000U);
  int held = 0;
  while (push(queue, std::string(92, 'x')) == queue_status::ok) {  // and a word each: 100 bytes or a little more
    ++held;
  }
  EXPECT_EQ(held, 10);
  EXPECT_GE(queue.bytes(), 1000U);
  EXPECT_TRUE(queue.full());
  EXPECT_EQ(pop(queue).size(), 92U);
  EXPECT_FALSE(queue.full());
  EXPECT_EQ(push(queue, std::string(5000, 'y')), queue_status::ok);  // one that is longer than the bound
  EXPECT_EQ(push(queue, ""), queue_status::timed_out);
}

TEST(ByteQueue, ABoundInBytesWakesAllProducersThatThereIsRoomFor) {
  byte_queue queue({.capacity_bytes = 1000});
  push(queue, std::string(1000, 'x'));
  std::vector<process> producers;
  for (int i = 0; i < 3; ++i) {
    producers.emplace_back([&] { return push(queue, "short", after(patience)) == queue_status::ok ? 0 : 1; });
  }
  EXPECT_EQ(pop(queue).size(), 1000U);
  for (process& producer : producers) {
    EXPECT_TRUE(producer.join().success());
  }
  EXPECT_EQ(queue.size(), 3U);
}

TEST(ByteQueue, TheRoomDescriptorIsReadableUnlessTheQueueIsFull) {
  byte_queue queue({.capacity = 2});
  push(queue, "1");
  const int fd = queue.room_handle();
  EXPECT_TRUE(is_readable(fd));
  push(queue, "2");
  EXPECT_EQ(push(queue, "3"), queue_status::timed_out);
  EXPECT_FALSE(is_readable(fd));
  pop(queue);
  EXPECT_TRUE(is_readable(fd));
  push(queue, "3");
  EXPECT_EQ(push(queue, "4"), queue_status::timed_out);
  EXPECT_FALSE(is_readable(fd));
  queue.close();
  EXPECT_TRUE(is_readable(fd));
}

TEST(ByteQueue, AQueueWithoutBoundHasNoRoomDescriptor) {
  byte_queue queue;
  EXPECT_THROW((void)queue.room_handle(), std::logic_error);
  EXPECT_EQ(queue.descriptors().room, -1);
}

TEST(ByteQueue, TasksAreDoneWhenAllThatWerePushedAreCounted) {
  byte_queue queue;
  EXPECT_EQ(queue.wait_until_done(no_waiting), queue_status::ok);
  push(queue, "1");
  push(queue, "2");
  EXPECT_EQ(queue.unfinished(), 2U);
  EXPECT_EQ(queue.wait_until_done(after(10ms)), queue_status::timed_out);
  process worker([&] {
    pop(queue);
    queue.task_done();
    pop(queue);
    queue.task_done();
  });
  queue_status status{};
  do {
    status = queue.wait_until_done(after(patience));
  } while (status == queue_status::interrupted);
  EXPECT_EQ(status, queue_status::ok);
  EXPECT_TRUE(worker.join().success());
  EXPECT_FALSE(queue.task_done());
}

}  // namespace
