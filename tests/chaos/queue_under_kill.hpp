#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "memory/segment.hpp"
#include "process_support.hpp"
#include "queue/layout.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::test {

inline const_bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

inline std::string text_of(const record& from) {
  return {reinterpret_cast<const char*>(from.bytes().data()), from.bytes().size()};
}

/// A text of this length that differs from those of other numbers.
inline std::string sample(std::uint64_t number, std::size_t length) {
  std::string text = std::to_string(number) + ":";
  text.resize(std::max(length, text.size()), static_cast<char>('a' + number % 26));
  return text;
}

inline bool is_readable(int fd) {
  pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&polled, 1, 0) == 1;
}

/// Longer than anything may take in a queue where all others are dead, far shorter than for ever.
inline constexpr std::chrono::seconds no_deadlock{2};

/// The control block of a queue, seen from a second mapping, for looking only.
class queue_internals {
 public:
  explicit queue_internals(const byte_queue& queue)
      : segment_(memory::segment::attach(queue.descriptors().segment, memory::segment_kind::queue)) {}

  /// Whether the calling process, which has one thread, holds the lock.
  [[nodiscard]] bool holds_tail_lock() const { return is_mine(tail_lock()); }
  [[nodiscard]] bool holds_head_lock() const { return is_mine(head_lock()); }

  /// Whether either lock was held by one who died, and nobody has locked it since.
  [[nodiscard]] bool has_dead_owner() const {
    constexpr std::uint32_t owner_died = 0x40000000;  // FUTEX_OWNER_DIED
    return ((tail_lock() | head_lock()) & owner_died) != 0;
  }

  /// Chunks that can be reached by going round the ring. Not more than there are.
  [[nodiscard]] std::uint32_t ring_length() const {
    const auto* const table = segment_.at<queue::chunk>(queue::table_offset);
    const std::uint32_t first = control().head.popped.get().chunk;
    std::uint32_t length = 1;
    for (std::uint32_t at = table[first].next; at != first && length <= chunk_count(); at = table[at].next) {
      ++length;
    }
    return length;
  }
  [[nodiscard]] std::uint32_t chunk_count() const { return control().tail.chunk_count; }

  [[nodiscard]] std::size_t file_size() const {
    struct stat status {};
    ::fstat(segment_.descriptor(), &status);
    return static_cast<std::size_t>(status.st_size);
  }

 private:
  [[nodiscard]] const queue::control& control() const { return *segment_.at<queue::control>(queue::control_offset); }

  [[nodiscard]] std::uint32_t tail_lock() const { return word_of(control().tail.lock); }
  [[nodiscard]] std::uint32_t head_lock() const { return word_of(control().head.lock); }

  static bool is_mine(std::uint32_t lock) {
    constexpr std::uint32_t owner = 0x3fffffff;  // FUTEX_TID_MASK
    return (lock & owner) == static_cast<std::uint32_t>(::getpid());
  }

  // glibc's lock is a futex word whose bits the kernel prescribes. See set_robust_list(2).
  static std::uint32_t word_of(const sync::robust_mutex& mutex) {
    static_assert(sizeof mutex == sizeof(pthread_mutex_t));
    auto& native = const_cast<pthread_mutex_t&>(reinterpret_cast<const pthread_mutex_t&>(mutex));
    return static_cast<std::uint32_t>(std::atomic_ref(native.__data.__lock).load());
  }

  memory::segment segment_;
};

/// A queue and what must be in it.
class queue_under_kill {
 public:
  explicit queue_under_kill(const queue_options& options = {}) : queue(options), internals(queue) {}

  byte_queue queue;
  queue_internals internals;
  std::deque<std::string> expected;

  void poll_from_now_on() { readiness_ = queue.native_handle(); }
  [[nodiscard]] bool is_readable() const { return readiness_ && test::is_readable(*readiness_); }

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
      ASSERT_TRUE(text_of(got) == expected.front())
          << "got " << text_of(got).substr(0, 20) << ", expected " << expected.front().substr(0, 20);
      expected.pop_front();
    }
  }

  /// Learns from the counts whether operations that push `text`, or pop, took effect. @return whether one did.
  bool settle_push(const std::string& text) {
    const std::uint64_t effect = queue.pushed() - queue.popped() - expected.size();
    EXPECT_LE(effect, 1U);
    if (effect == 1) {
      expected.push_back(text);
    }
    return effect == 1;
  }
  bool settle_pop() {
    const std::uint64_t effect = expected.size() - (queue.pushed() - queue.popped());
    EXPECT_LE(effect, 1U);
    if (effect == 1) {
      expected.pop_front();
    }
    return effect == 1;
  }

  /// Whoever polls must not miss anything, not even before somebody has locked the queue again.
  void expect_readable_unless_empty() const {
    if (readiness_ && (!queue.empty() || queue.closed())) {
      EXPECT_TRUE(is_readable()) << "there is something, and the descriptor is not readable";
    }
  }

  /// Takes all out and looks whether it is what must be there.
  void drain() {
    ASSERT_NO_FATAL_FAILURE(pop(static_cast<int>(expected.size())));
    record got;
    const queue_status at_end = queue.closed() ? queue_status::closed : queue_status::timed_out;
    ASSERT_EQ(queue.pop(got, no_waiting), at_end);
    if (readiness_ && !queue.closed()) {
      EXPECT_FALSE(is_readable()) << "a pop has found nothing, and the descriptor stays readable";
    }
  }

  /// Uses it until all chunks have been used again.
  void go_on() {
    for (int turn = 0; turn < 4; ++turn) {
      ASSERT_NO_FATAL_FAILURE(push(100));
      expect_readable_unless_empty();
      ASSERT_NO_FATAL_FAILURE(push(30'000, queue.capacity() == 0 ? 4 : 1));
      ASSERT_NO_FATAL_FAILURE(drain());
    }
    EXPECT_EQ(internals.ring_length(), internals.chunk_count()) << "chunks were lost from the ring";
  }

 private:
  std::optional<int> readiness_;
};

}  // namespace shoal::test
