#include "shoal/byte_queue.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "queue/shared_queue.hpp"
#include "sync/wait.hpp"

namespace shoal {
namespace {

using queue::shared_queue;
using std::chrono::steady_clock;

}  // namespace

class byte_queue::impl {
 public:
  explicit impl(const queue_options& options) : queue_(options) {}
  explicit impl(queue_descriptors descriptors) : queue_(descriptors) {}

  shared_queue& shared() noexcept { return queue_; }

  static queue_status given_up(deadline until) {
    return steady_clock::now() >= until ? queue_status::timed_out : queue_status::interrupted;
  }

  /// For what needs a lock and nothing else.
  template <class Attempt>
  queue_status locked(Attempt attempt, deadline until) {
    return attempt(queue_) ? queue_status::ok : given_up(until);
  }

  queue_status push(encoding tag, std::span<const const_bytes> parts, deadline until) {
    const auto may_succeed = [&] { return queue_.free_slots() > 0 || queue_.is_closed(); };
    const queue_status status =
        repeat([&] { return queue_.push(tag, parts, until); }, may_succeed, queue_.space(), until);
    if (status == queue_status::ok) {
      queue_.items().notify(1);
    }
    return status;
  }

  queue_status pop(record& out, std::atomic<std::uint64_t>* claim, deadline until) {
    const auto may_succeed = [&] { return queue_.size() != 0 || queue_.is_closed(); };
    const queue_status status =
        repeat([&] { return queue_.pop(out, claim, until); }, may_succeed, queue_.items(), until);
    if (status == queue_status::ok && queue_.capacity() != 0) {
      queue_.space().notify(1);
    }
    return status;
  }

 private:
  // A wake-up that is not made use of may have been the only one for a record, or a place, that another sleeper waits
  // for.
  static void pass_on(sync::event_count& changed, bool woken) {
    if (woken) {
      changed.notify(1);
    }
  }

  // Attempts, and waits for `may_succeed` between attempts.
  template <class Attempt, class MaySucceed>
  queue_status repeat(Attempt attempt, MaySucceed may_succeed, sync::event_count& changed, deadline until) {
    bool woken = false;
    for (;;) {
      shared_queue::outcome outcome{};
      try {
        outcome = attempt();
      } catch (...) {
        pass_on(changed, woken);
        throw;
      }
      switch (outcome) {
        case shared_queue::outcome::done:
          return queue_status::ok;
        case shared_queue::outcome::closed:
          return queue_status::closed;
        case shared_queue::outcome::busy:
          pass_on(changed, woken);
          return until == no_waiting ? queue_status::busy : given_up(until);
        case shared_queue::outcome::not_now:
          if (until == no_waiting) {
            return queue_status::timed_out;
          }
          break;
      }
      switch (sync::wait_for(may_succeed, changed, spin_, until)) {
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

  shared_queue queue_;
  sync::adaptive_spin spin_;
};

byte_queue::byte_queue(const queue_options& options) : impl_(std::make_unique<impl>(options)) {}
byte_queue::byte_queue(std::unique_ptr<impl> state) noexcept : impl_(std::move(state)) {}
byte_queue byte_queue::attach(queue_descriptors descriptors) { return byte_queue(std::make_unique<impl>(descriptors)); }
byte_queue::byte_queue(byte_queue&&) noexcept = default;
byte_queue& byte_queue::operator=(byte_queue&&) noexcept = default;
byte_queue::~byte_queue() = default;

queue_status byte_queue::push(encoding tag, std::span<const const_bytes> parts, deadline until) {
  return impl_->push(tag, parts, until);
}

queue_status byte_queue::pop(record& out, deadline until) { return impl_->pop(out, nullptr, until); }

queue_status byte_queue::pop(record& out, std::atomic<std::uint64_t>& claim, deadline until) {
  return impl_->pop(out, &claim, until);
}

std::uint64_t byte_queue::pushed() const noexcept { return impl_->shared().pushed(); }
std::uint64_t byte_queue::popped() const noexcept { return impl_->shared().popped(); }
std::size_t byte_queue::size() const noexcept { return impl_->shared().size(); }
std::size_t byte_queue::capacity() const noexcept { return impl_->shared().capacity(); }
bool byte_queue::closed() const noexcept { return impl_->shared().is_closed(); }
queue_descriptors byte_queue::descriptors() const noexcept { return impl_->shared().descriptors(); }

queue_status byte_queue::close(deadline until) {
  const queue_status status = impl_->locked([&](shared_queue& queue) { return queue.close(until); }, until);
  if (status == queue_status::ok) {
    impl_->shared().items().notify(std::numeric_limits<int>::max());
    impl_->shared().space().notify(std::numeric_limits<int>::max());
  }
  return status;
}

void byte_queue::close() {
  while (close(forever) != queue_status::ok) {
  }
}

queue_status byte_queue::start_polling(deadline until) {
  return impl_->locked([&](shared_queue& queue) { return queue.start_polling(until); }, until);
}

int byte_queue::native_handle() {
  while (start_polling(forever) != queue_status::ok) {
  }
  return descriptors().readiness;
}

}  // namespace shoal
