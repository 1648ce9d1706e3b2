#include "shoal/work_queue.hpp"

#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "pool/claims.hpp"
#include "pool/ticket_window.hpp"
#include "shoal/error.hpp"

namespace shoal {
namespace {

/// Precedes the bytes of every outcome in the queue of results.
struct outcome_header {
  std::uint64_t ticket;
  std::uint32_t slot;
  outcome::kind kind;
};
static_assert(sizeof(outcome_header) == 16, "keeps what follows aligned");

const_bytes bytes_of(const outcome_header& header) { return std::as_bytes(std::span(&header, 1)); }

queue_options labelled(std::string label) { return {.label = std::move(label)}; }

}  // namespace

class work_queue::impl {
 public:
  impl(std::size_t slots, const std::string& label)
      : claims_(claims::create(slots, label)),
        tasks_(labelled(label + ".tasks")),
        results_(labelled(label + ".results")) {}

  explicit impl(const work_queue_descriptors& descriptors)
      : claims_(claims::attach(descriptors.claims)),
        tasks_(byte_queue::attach(descriptors.tasks)),
        results_(byte_queue::attach(descriptors.results)) {}

  [[nodiscard]] const claims& slots() const noexcept { return claims_; }
  [[nodiscard]] const byte_queue& tasks() const noexcept { return tasks_; }
  [[nodiscard]] byte_queue& tasks() noexcept { return tasks_; }
  [[nodiscard]] byte_queue& results() noexcept { return results_; }

  std::uint64_t submit(encoding tag, std::span<const const_bytes> parts) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t ticket = unsettled_.next();  // is tasks_.pushed(), for only this function pushes
    unsettled_.issue();
    try {
      push(tasks_, tag, parts);
    } catch (...) {
      unsettled_.withdraw();
      throw;
    }
    return ticket;
  }

  bool settle(std::uint64_t ticket) {
    const std::lock_guard lock(mutex_);
    return unsettled_.settle(ticket);
  }

  void lost(std::size_t slot) {
    const std::lock_guard lock(mutex_);
    claims::word& dead = claims_.of(slot);
    if (!is_valid(slot, dead.load(std::memory_order_acquire))) {
      dead.store(0, std::memory_order_relaxed);
    }
    const outcome_header notice{
        .ticket = 0, .slot = static_cast<std::uint32_t>(slot), .kind = outcome::kind::worker_lost};
    const const_bytes bytes = bytes_of(notice);
    push(results_, encoding::raw, {&bytes, 1});
  }

  std::optional<std::uint64_t> reclaim(std::size_t slot) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t claim = claims_.of(slot).exchange(0, std::memory_order_relaxed);
    if (claim != 0 && unsettled_.settle(claim - 1)) {
      return claim - 1;
    }
    return std::nullopt;
  }

  [[nodiscard]] std::size_t outstanding() const noexcept {
    const std::lock_guard lock(mutex_);
    return unsettled_.count();
  }

  // The queues have no bound: they can be full for no longer than a lock is held.
  static void push(byte_queue& queue, encoding tag, std::span<const const_bytes> parts) {
    for (;;) {
      switch (queue.push(tag, parts)) {
        case queue_status::ok:
          return;
        case queue_status::closed:
          throw error(errc::closed, "the work queue was closed and takes no more tasks");
        case queue_status::timed_out:
        case queue_status::interrupted:
        case queue_status::busy:
          break;
      }
    }
  }

 private:
  // Whether the dead worker of `slot`, whose last word was `claim`, has taken that task out of the queue.
  //
  // If it was killed just before, the task was there for others. One that took it has, or had, the same claim: it has
  // it until it takes another task, and by then its outcome of this one is among the results, ahead of the notice that
  // the caller is about to push. In the first case the claim is void. In the second it looks valid, but at the notice
  // the ticket will be settled.
  [[nodiscard]] bool is_valid(std::size_t slot, std::uint64_t claim) const {
    if (tasks_.popped() < claim) {
      return false;
    }
    for (std::size_t other = 0; other < claims_.slots(); ++other) {
      // Acquire: a later claim than this one comes after the outcome that its worker pushed.
      if (other != slot && claims_.of(other).load(std::memory_order_acquire) == claim) {
        return false;
      }
    }
    return true;
  }

  claims claims_;
  byte_queue tasks_;
  byte_queue results_;

  mutable std::mutex mutex_;  // orders submissions with their tickets; guards what follows. The owner's alone.
  ticket_window unsettled_;
};

const_bytes outcome::bytes() const noexcept { return record_.bytes().subspan(sizeof(outcome_header)); }

work_queue::work_queue(std::size_t slots, const std::string& label) : impl_(std::make_unique<impl>(slots, label)) {}
work_queue::work_queue(std::unique_ptr<impl> state) noexcept : impl_(std::move(state)) {}
work_queue::work_queue(work_queue&&) noexcept = default;
work_queue& work_queue::operator=(work_queue&&) noexcept = default;
work_queue::~work_queue() = default;

work_queue work_queue::attach(const work_queue_descriptors& descriptors) {
  return work_queue(std::make_unique<impl>(descriptors));
}

std::size_t work_queue::slots() const noexcept { return impl_->slots().slots(); }

work_queue_descriptors work_queue::descriptors() const {
  return {impl_->tasks().descriptors(), impl_->results().descriptors(), impl_->slots().descriptor()};
}

std::uint64_t work_queue::submit(encoding tag, std::span<const const_bytes> parts) { return impl_->submit(tag, parts); }

queue_status work_queue::next(outcome& out, deadline until) {
  for (;;) {
    const queue_status status = impl_->results().pop(out.record_, until);
    if (status != queue_status::ok) {
      return status;
    }
    outcome_header header{};
    if (out.record_.bytes().size() < sizeof header) {
      throw error(errc::corrupt_record, "an outcome of " + std::to_string(out.record_.bytes().size()) +
                                            " bytes came out of a work queue; the shortest has " +
                                            std::to_string(sizeof header));
    }
    std::memcpy(&header, out.record_.bytes().data(), sizeof header);
    out.kind_ = header.kind;
    out.ticket_ = header.ticket;
    out.slot_ = header.slot;
    // A task that forks and returns in both processes makes two workers of one, which both finish it. The first one
    // counts.
    if (out.kind_ == outcome::kind::worker_lost || impl_->settle(out.ticket_)) {
      return status;
    }
  }
}

void work_queue::lost(std::size_t slot) { impl_->lost(slot); }
std::optional<std::uint64_t> work_queue::reclaim(std::size_t slot) { return impl_->reclaim(slot); }
void work_queue::close() { impl_->tasks().close(); }
std::size_t work_queue::pending() const noexcept { return impl_->tasks().size(); }
std::size_t work_queue::outstanding() const noexcept { return impl_->outstanding(); }

queue_status work_queue::take(std::size_t slot, task& out, deadline until) {
  claims::word& claim = impl_->slots().of(slot);
  const queue_status status = impl_->tasks().pop(out.record_, claim, until);
  if (status == queue_status::ok) {
    out.ticket_ = claim.load(std::memory_order_relaxed) - 1;
  }
  return status;
}

void work_queue::finish(std::size_t slot, std::uint64_t ticket, encoding tag, std::span<const const_bytes> parts) {
  const outcome_header header{
      .ticket = ticket, .slot = static_cast<std::uint32_t>(slot), .kind = outcome::kind::finished};
  std::vector<const_bytes> all{bytes_of(header)};
  all.insert(all.end(), parts.begin(), parts.end());
  impl::push(impl_->results(), tag, all);
}

}  // namespace shoal
