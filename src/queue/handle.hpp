#pragma once

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include "queue/gather.hpp"
#include "queue/shared_queue.hpp"
#include "shoal/byte_queue.hpp"
#include "sync/spin.hpp"
#include "sync/wait.hpp"

namespace shoal::queue_detail {

inline constexpr int everybody = std::numeric_limits<int>::max();

inline int wake_count(std::size_t records) { return static_cast<int>(std::min<std::size_t>(records, everybody)); }

/// A queue as this process knows it. Lives as long as anything that refers to its memory.
class handle : public std::enable_shared_from_this<handle> {
 public:
  explicit handle(const queue_options& options) : queue_(options) {}
  explicit handle(queue_descriptors descriptors) : queue_(descriptors) {}

  queue::shared_queue& shared() noexcept { return queue_; }

  // ---- Producers.

  queue_status push(encoding tag, std::span<const const_bytes> parts, deadline until) {
    const std::size_t size = queue::gathered_size(parts);
    return size < byte_queue::large ? push_small(tag, parts, until) : push_large(tag, parts, size, until);
  }

  queue_status push_many(std::span<const outgoing_record> records, std::size_t& pushed, deadline until) {
    const auto is_large = [](const outgoing_record& one) {
      return queue::gathered_size(one.parts) >= byte_queue::large;
    };
    auto next_large = records.begin();
    while (!records.empty()) {
      if (next_large <= records.begin()) {
        next_large = std::find_if(records.begin(), records.end(), is_large);
      }
      const auto small = static_cast<std::size_t>(next_large - records.begin());
      std::size_t count = 0;
      queue_status status = queue_status::ok;
      if (small == 0) {
        status = push_large(records[0].tag, records[0].parts, queue::gathered_size(records[0].parts), until);
        count = status == queue_status::ok ? 1 : 0;
      } else {
        status = pushed_to_room([&] { return queue_.push_many(records.first(small), count, until); }, count, until);
      }
      pushed += count;
      if (status != queue_status::ok) {
        return status;
      }
      next_large += small == 0 ? 1 : 0;
      records = records.subspan(count);
    }
    return queue_status::ok;
  }

  queue_status reserve(reserved_record& out, std::size_t size, deadline until) {
    if (size == 0) {
      throw std::invalid_argument("room for a record of 0 bytes was asked for; it must have at least one");
    }
    queue::loan made;
    switch (queue_.reserve(made, size, until)) {
      case queue::shared_queue::outcome::done:
        break;
      case queue::shared_queue::outcome::closed:
        return queue_status::closed;
      case queue::shared_queue::outcome::busy:
        return given_up(until);
      case queue::shared_queue::outcome::not_now:
        throw std::bad_alloc();  // too many are being written to
    }
    out.reset();
    out.queue_ = shared_from_this();
    out.holder_ = std::move(made.owner);
    out.bytes_ = made.bytes;
    out.chunk_ = made.chunk;
    return queue_status::ok;
  }

  queue_status push(encoding tag, reserved_record& ready, deadline until) {
    if (ready.queue_.get() != this || !owner_of(ready)->is_exclusive()) {
      throw std::invalid_argument("the reserved record was not reserved by this process in this queue");
    }
    const queue_status status = push_reserved(loan_of(ready), tag, until);
    if (status == queue_status::ok) {
      ready.bytes_ = {};
      ready.holder_.reset();
      ready.queue_.reset();
    }
    return status;
  }

  static void cancel(reserved_record& unused) noexcept {
    if (unused.queue_ != nullptr) {
      unused.queue_->queue_.cancel(loan_of(unused));
      unused.bytes_ = {};
      unused.holder_.reset();
      unused.queue_.reset();
    }
  }

  // ---- Consumers.

  queue_status pop(record& out, std::atomic<std::uint64_t>* claim, deadline until) {
    return popped([&] { return queue_.pop(out, claim, until); }, until);
  }

  queue_status pop_many(record_batch& out, std::size_t most, deadline until) {
    return pop_many(out, static_cast<queue::loan*>(nullptr), most, until);
  }

  queue_status pop_many(record_batch& out, borrowed_record& large, std::size_t most, deadline until) {
    large.reset();
    queue::loan made;
    const queue_status status = pop_many(out, &made, most, until);
    if (status == queue_status::ok && made.owner != nullptr) {
      adopt(std::move(made), large);
    }
    return status;
  }

  queue_status borrow(borrowed_record& out, std::atomic<std::uint64_t>* claim, deadline until) {
    out.reset();
    queue::loan made;
    const queue_status status = popped([&] { return queue_.borrow(made, out.copy_, claim, until); }, until);
    if (status == queue_status::ok && made.owner != nullptr) {
      adopt(std::move(made), out);
    }
    return status;
  }

  static void give_back(borrowed_record& unused) noexcept {
    if (unused.queue_ != nullptr) {
      unused.queue_->queue_.give_back(loan_of(unused));
      unused.bytes_ = {};
      unused.holder_.reset();
      unused.queue_.reset();
    }
  }

  queue_status pop(lease& out, deadline until) {
    out = lease();
    queue::lease_place made;
    const queue_status status = popped([&] { return queue_.lease(made, until); }, until);
    if (status == queue_status::ok) {
      lease taken;  // if there is no memory for the record, this gives it back
      taken.queue_ = shared_from_this();
      taken.holder_ = made.owner;
      taken.entry_ = made.entry;
      taken.ticket_ = made.ticket;
      // Without a lock: on lease the record stays where it is.
      std::memcpy(taken.record_.reset(made.tag, made.bytes.size()), made.bytes.data(), made.bytes.size());
      out = std::move(taken);
    }
    return status;
  }

  static bool acknowledge(lease& done) noexcept {
    const bool was_active = done.queue_ != nullptr && done.queue_->queue_.acknowledge(place_of(done));
    forget(done);
    return was_active;
  }

  static void abandon(lease& unused) noexcept {
    unused.queue_->queue_.abandon(place_of(unused));
    forget(unused);
  }

  static queue_status give_back(lease& unused, deadline until) {
    if (unused.queue_ == nullptr) {
      return queue_status::ok;
    }
    queue::shared_queue& queue = unused.queue_->queue_;
    if (queue.give_back(place_of(unused), until) == queue::shared_queue::outcome::busy) {
      return given_up(until);
    }
    queue.items().notify(1);
    forget(unused);
    return queue_status::ok;
  }

  // ---- Both.

  /// For what needs locks and nothing else.
  template <class Attempt>
  static queue_status locked(Attempt attempt, deadline until) {
    return attempt() == queue::shared_queue::outcome::done ? queue_status::ok : given_up(until);
  }

  bool task_done(std::uint64_t count) noexcept {
    std::atomic<std::uint64_t>& done = queue_.done();
    std::uint64_t seen = done.load(std::memory_order_relaxed);
    do {
      if (count > queue_.pushed() - seen) {
        return false;
      }
    } while (!done.compare_exchange_weak(seen, seen + count, std::memory_order_seq_cst));  // COMMIT
    if (unfinished() == 0) {
      queue_.all_done().notify(everybody);
    }
    return true;
  }

  [[nodiscard]] std::uint64_t unfinished() noexcept {
    const std::uint64_t done = queue_.done().load(std::memory_order_seq_cst);
    return queue_.pushed() - done;
  }

  queue_status wait_until_done(deadline until) {
    while (unfinished() != 0) {
      switch (sync::wait_for([&] { return unfinished() == 0; }, queue_.all_done(), spin_, until)) {
        case sync::wait_result::done:
          break;
        case sync::wait_result::timed_out:
          return queue_status::timed_out;
        case sync::wait_result::interrupted:
          return queue_status::interrupted;
      }
    }
    return queue_status::ok;
  }

 private:
  template <class InPlace>
  static std::shared_ptr<const queue::holder> owner_of(const InPlace& in_place) {
    return std::static_pointer_cast<const queue::holder>(in_place.holder_);
  }
  template <class InPlace>
  static queue::loan loan_of(const InPlace& in_place) {
    return {owner_of(in_place), in_place.chunk_, in_place.bytes_, encoding::raw};
  }
  static queue::lease_place place_of(const lease& active) {
    return {owner_of(active), active.entry_, active.ticket_, active.tag(), active.bytes()};
  }
  static void forget(lease& ended) noexcept {
    ended.holder_.reset();
    ended.queue_.reset();
  }

  queue_status pop_many(record_batch& out, queue::loan* large, std::size_t most, deadline until) {
    if (most == 0) {
      return queue_status::ok;
    }
    std::size_t count = 0;
    const queue_status status =
        repeat([&] { return queue_.pop_many(out, large, most, count, until); }, awaited::items, until);
    if (status == queue_status::ok && queue_.is_bounded()) {
      queue_.space().notify(wake_count(count));
    }
    return status;
  }

  void adopt(queue::loan&& made, borrowed_record& out) {
    out.queue_ = shared_from_this();
    out.holder_ = std::move(made.owner);
    out.bytes_ = made.bytes;
    out.chunk_ = made.chunk;
    out.tag_ = made.tag;
  }

  enum class awaited { items, space };

  bool may_succeed(awaited what) noexcept {
    return (what == awaited::items ? queue_.size() != 0 : !queue_.is_full()) || queue_.is_closed();
  }
  sync::event_count& changes(awaited what) noexcept { return what == awaited::items ? queue_.items() : queue_.space(); }
  bool is_announced(awaited what) noexcept { return what == awaited::items ? queue_.says_ready() : queue_.says_room(); }

  // For a call that is not to wait, and found nothing, though the descriptor says otherwise. That is raised before the
  // COMMIT; where the process that this wakes runs on the same processor, it runs instead of the one that raised it.
  // Asleep, it is woken right behind the COMMIT; if it only gave way, or looked again and again, it would have the item
  // a time slice later. It holds no lock meanwhile, for which the other end would wait. @return whether it was woken.
  bool await_commit(awaited what) noexcept {
    // As long as the other is stopped, a loop that watches the descriptor looks so often.
    constexpr std::chrono::milliseconds patience{1};
    const std::uint32_t key = changes(what).prepare_wait();
    return may_succeed(what) || changes(what).wait(key, after(patience));
  }

  static queue_status given_up(deadline until) {
    if (until == no_waiting) {
      return queue_status::busy;
    }
    return std::chrono::steady_clock::now() >= until ? queue_status::timed_out : queue_status::interrupted;
  }

  // A push that waits for room, and tells consumers.
  template <class Attempt>
  queue_status pushed_to_room(Attempt attempt, const std::size_t& count, deadline until) {
    const queue_status status = repeat(attempt, awaited::space, until);
    if (status == queue_status::ok) {
      queue_.items().notify(wake_count(count));
      // One record less may be room for several shorter ones: whoever was let in lets in the next.
      if (queue_.capacity_bytes() != 0 && !queue_.is_full()) {
        queue_.space().notify(1);
      }
    }
    return status;
  }

  // A pop that waits for a record, and tells producers.
  template <class Attempt>
  queue_status popped(Attempt attempt, deadline until) {
    const queue_status status = repeat(attempt, awaited::items, until);
    if (status == queue_status::ok && queue_.is_bounded()) {
      queue_.space().notify(1);
    }
    return status;
  }

  queue_status push_small(encoding tag, std::span<const const_bytes> parts, deadline until) {
    const outgoing_record what{tag, parts};
    return pushed_to_room([&] { return queue_.push(what, until); }, 1, until);
  }

  // Copies without holding a lock.
  queue_status push_large(encoding tag, std::span<const const_bytes> parts, std::size_t size, deadline until) {
    if (queue_.is_bounded()) {
      // Before anything is copied: producers that wait are not to occupy memory.
      const auto look = [&] { return queue_.look_for_room(until); };
      const queue_status room = repeat(look, awaited::space, until);
      if (room != queue_status::ok) {
        return room;
      }
    }
    queue::loan made;
    try {
      switch (queue_.reserve(made, size, until)) {
        case queue::shared_queue::outcome::done:
          break;
        case queue::shared_queue::outcome::closed:
          return queue_status::closed;
        case queue::shared_queue::outcome::busy:
          pass_on(queue_.space(), true);
          return given_up(until);
        case queue::shared_queue::outcome::not_now:
          return push_small(tag, parts, until);
      }
    } catch (...) {
      pass_on(queue_.space(), true);
      throw;
    }
    queue::gather(made.bytes.data(), parts);
    try {
      const queue_status status = push_reserved(made, tag, until);
      if (status != queue_status::ok) {
        queue_.cancel(made);
      }
      return status;
    } catch (...) {
      queue_.cancel(made);
      throw;
    }
  }

  queue_status push_reserved(const queue::loan& ready, encoding tag, deadline until) {
    return pushed_to_room([&] { return queue_.push_reserved(ready, tag, until); }, 1, until);
  }

  // A wake-up that is not made use of may have been the only one for a record, or a place, that another sleeper waits
  // for.
  static void pass_on(sync::event_count& changed, bool woken) {
    if (woken) {
      changed.notify(1);
    }
  }

  // Attempts, and waits between attempts.
  template <class Attempt>
  queue_status repeat(Attempt attempt, awaited what, deadline until) {
    sync::event_count& changed = changes(what);
    bool woken = false;
    bool awaited_commit = false;
    for (;;) {
      queue::shared_queue::outcome outcome{};
      try {
        outcome = attempt();
      } catch (...) {
        pass_on(changed, woken);
        throw;
      }
      switch (outcome) {
        case queue::shared_queue::outcome::done:
          return queue_status::ok;
        case queue::shared_queue::outcome::closed:
          return queue_status::closed;
        case queue::shared_queue::outcome::busy:
          pass_on(changed, woken);
          return given_up(until);
        case queue::shared_queue::outcome::not_now:
          if (until != no_waiting) {
            break;
          }
          if (std::exchange(awaited_commit, true) || !is_announced(what)) {
            return queue_status::timed_out;
          }
          woken = await_commit(what);
          continue;
      }
      switch (sync::wait_for([&] { return may_succeed(what); }, changed, spin_, until)) {
        case sync::wait_result::done:
          woken = true;
          break;
        case sync::wait_result::timed_out:
          return queue_status::timed_out;
        case sync::wait_result::interrupted:
          return queue_status::interrupted;
      }
    }
  }

  queue::shared_queue queue_;
  sync::adaptive_spin spin_;
};

}  // namespace shoal::queue_detail
