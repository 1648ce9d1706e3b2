#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "process_support.hpp"
#include "queue_internals.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::test {

inline const_bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

inline std::string text_of(const_bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// A text of this length that differs from those of other numbers.
inline std::string sample(std::uint64_t number, std::size_t length) {
  std::string text = std::to_string(number) + ":";
  text.resize(std::max(length, text.size()), static_cast<char>('a' + number % 26));
  return text;
}

/// Longer than anything may take in a queue where all others are dead, far shorter than for ever.
inline constexpr std::chrono::seconds no_deadlock{2};

/// A queue and what must be in it.
class queue_under_kill {
 public:
  explicit queue_under_kill(const queue_options& options = {})
      : queue(options), internals(queue), is_small_(options.max_bytes != 0) {}

  byte_queue queue;
  queue_internals internals;
  std::deque<std::string> expected;

  void poll_from_now_on() { readiness_ = queue.native_handle(); }
  void poll_room_from_now_on() { room_ = queue.room_handle(); }
  [[nodiscard]] bool is_polled() const { return readiness_.has_value(); }
  [[nodiscard]] bool is_readable() const { return readiness_ && test::is_readable(*readiness_); }

  /// Goes on with a handle that has not looked at the queue yet, and so looks at everything.
  void renew() {
    is_renewed_ = true;
    queue = byte_queue::attach(queue.descriptors());
    if (readiness_) {
      poll_from_now_on();
    }
    if (room_) {
      poll_room_from_now_on();
    }
  }

  void push(std::size_t length, int count = 1) {
    for (; count > 0; --count) {
      const std::string text = sample(queue.pushed(), length);
      ASSERT_EQ(queue.push(encoding::raw, bytes_of(text), after(no_deadlock)), queue_status::ok);
      expected.push_back(text);
    }
  }

  void pop(int count = 1) {
    record got;
    for (; count > 0; --count) {
      ASSERT_EQ(queue.pop(got, after(no_deadlock)), queue_status::ok);
      expect_front(got.bytes());
    }
  }
  void borrow(borrowed_record& out) {
    ASSERT_EQ(queue.borrow(out, after(no_deadlock)), queue_status::ok);
    expect_front(out.bytes());
  }

  /// Learns from the counts how many of these records, in their order, were pushed.
  std::size_t settle_pushes(const std::vector<std::string>& texts) {
    const std::uint64_t effect = queue.pushed() - queue.popped() - expected.size();
    EXPECT_LE(effect, texts.size());
    for (std::size_t i = 0; i < effect && i < texts.size(); ++i) {
      expected.push_back(texts[i]);
    }
    return effect;
  }
  bool settle_push(const std::string& text) { return settle_pushes({text}) == 1; }

  /// The same for pops.
  std::size_t settle_pops(std::size_t most) {
    const std::uint64_t effect = expected.size() - (queue.pushed() - queue.popped());
    EXPECT_LE(effect, most);
    for (std::size_t i = 0; i < effect && i < most; ++i) {
      expected.pop_front();
    }
    return effect;
  }
  bool settle_pop() { return settle_pops(1) == 1; }

  /// The one who died had the record in front on lease. Takes what is in front now. @return whether that is another
  /// one.
  bool settle_lease() {
    renew();
    record got;
    const queue_status status = queue.pop(got, no_waiting);
    if (status == queue_status::timed_out) {
      EXPECT_EQ(expected.size(), 1U) << "nothing is there";
      expected.pop_front();
      return true;
    }
    EXPECT_EQ(status, queue_status::ok);
    const std::string text = text_of(got.bytes());
    const bool gone = text != expected.front();
    if (gone) {
      expected.pop_front();
    }
    EXPECT_TRUE(!expected.empty() && text == expected.front()) << "got " << text.substr(0, 20);
    if (!expected.empty()) {
      expected.pop_front();
    }
    return gone;
  }

  /// Whoever polls must not miss anything, not even before somebody has locked the queue again.
  void expect_readable_unless_empty() const {
    if (readiness_ && (!queue.empty() || queue.closed())) {
      EXPECT_TRUE(is_readable()) << "there is something, and the descriptor is not readable";
    }
    if (room_ && (!queue.full() || queue.closed())) {
      EXPECT_TRUE(test::is_readable(*room_)) << "there is room, and its descriptor is not readable";
    }
  }

  /// Takes all out and looks whether it is what must be there.
  void drain() {
    ASSERT_NO_FATAL_FAILURE(pop(static_cast<int>(expected.size())));
    const queue_status at_end = queue.closed() ? queue_status::closed : queue_status::timed_out;
    const auto pop_nothing = [&] {
      record got;
      EXPECT_EQ(queue.pop(got, no_waiting), at_end);
      return !is_readable();
    };
    const bool is_lowered = pop_nothing();
    if (readiness_ && !queue.closed()) {
      // The notice of a handle that has ended may still come, and raises it once more for nothing.
      EXPECT_TRUE(is_lowered || (is_renewed_ && eventually(pop_nothing)))
          << "a pop has found nothing, and the descriptor stays readable";
    }
  }

  /// Uses it until all chunks have been used again, and looks whether none was lost.
  void go_on() {
    for (int turn = 0; turn < 2; ++turn) {
      ASSERT_NO_FATAL_FAILURE(push(100));
      expect_readable_unless_empty();
      const bool is_bounded = queue.capacity() != 0 || queue.capacity_bytes() != 0;
      ASSERT_NO_FATAL_FAILURE(push(30'000, is_bounded ? 1 : 4));
      ASSERT_NO_FATAL_FAILURE(drain());
      ASSERT_NO_FATAL_FAILURE(push(100'000));
      borrowed_record large;
      ASSERT_NO_FATAL_FAILURE(borrow(large));
    }
    if (is_small_) {
      ASSERT_NO_FATAL_FAILURE(fill());
      if (!queue.full()) {
        EXPECT_EQ(internals.reserved(), 0) << "the dead keep memory";
      }
      ASSERT_NO_FATAL_FAILURE(drain());
    }
    EXPECT_EQ(internals.misplaced(), "");
    EXPECT_EQ(internals.lent_too_much(), 0);
    EXPECT_EQ(internals.resident_too_much(), 0);
    EXPECT_EQ(queue.leased(), 0U);
  }

  /// Pushes until there is no memory left. @param kept  so many chunks somebody has.
  void fill(std::uint32_t kept = 0) {
    constexpr std::size_t length = 30'000;
    for (std::uint32_t count = 0;; ++count) {
      const std::string text = sample(queue.pushed(), length);
      try {
        const queue_status status = queue.push(encoding::raw, bytes_of(text), no_waiting);
        if (status == queue_status::timed_out) {
          ASSERT_TRUE(queue.full());
          return;
        }
        ASSERT_EQ(status, queue_status::ok);
        expected.push_back(text);
      } catch (const std::bad_alloc&) {
        // Two fit into each.
        EXPECT_GE(count + 2, 2 * (internals.chunk_count() - kept)) << "some memory could not be used";
        return;
      }
    }
  }

 private:
  void expect_front(const_bytes got) {
    const std::string text = text_of(got);
    ASSERT_FALSE(expected.empty());
    ASSERT_TRUE(text == expected.front())
        << "got " << text.substr(0, 20) << ", expected " << expected.front().substr(0, 20);
    expected.pop_front();
  }

  bool is_small_;
  bool is_renewed_ = false;
  std::optional<int> readiness_;
  std::optional<int> room_;
};

}  // namespace shoal::test
