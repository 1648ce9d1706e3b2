#include "sync/shared_lock.hpp"

#include <chrono>
#include <limits>
#include <string>
#include <system_error>

#include "shoal/error.hpp"

namespace shoal::sync {
namespace {

constexpr int everybody = std::numeric_limits<int>::max();
constexpr std::uint32_t awaited = thread_record::hold_awaited;

std::atomic<std::uint32_t>* hold_of(thread_record& record, std::uint32_t slot) noexcept {
  for (auto& hold : record.shared_holds) {
    if ((hold.load(std::memory_order_relaxed) & ~awaited) == slot) {
      return &hold;
    }
  }
  return nullptr;
}

}  // namespace

/// One that has, or is about to find that it has not, the lock.
shared_lock::reader shared_lock::living_reader() const noexcept {
  const thread_table threads(lock_.slot().home());
  const std::uint32_t wanted = lock_.slot().index() + 1;
  const std::uint32_t used = threads.used();
  for (std::uint32_t index = 0; index < used; ++index) {
    thread_record& record = threads.at(index);
    for (auto& hold : record.shared_holds) {
      if ((hold.load(std::memory_order_seq_cst) & ~awaited) == wanted && thread_table::is_alive(record)) {
        return {&hold, threads.id_at(index)};
      }
    }
  }
  return {};
}

/// Waits until the reader has left, or died, or a second has passed.
void shared_lock::wait_for(const reader& somebody, deadline until) {
  const std::uint32_t wanted = lock_.slot().index() + 1;
  const auto has_left = [&] { return (somebody.hold->load(std::memory_order_seq_cst) & ~awaited) != wanted; };
  const deadline begin = std::chrono::steady_clock::now();
  if (!spin_(has_left, until)) {
    std::uint32_t seen = wanted;
    if (somebody.hold->compare_exchange_strong(seen, wanted | awaited, std::memory_order_seq_cst) ||
        seen == (wanted | awaited)) {
      (void)sleep_while_alive(*somebody.hold, wanted | awaited, thread_table(lock_.slot().home()), somebody.thread,
                              until);
    }
  }
  spin_.waited(std::chrono::steady_clock::now() - begin);
}

lock_attempt shared_lock::lock_until(deadline until) {
  const lock_attempt attempt = lock_.lock_uninterrupted(until);
  if (attempt.status != lock_status::acquired && attempt.status != lock_status::owner_died) {
    return attempt;
  }
  for (reader found = living_reader(); found.hold != nullptr; found = living_reader()) {
    if (std::chrono::steady_clock::now() >= until) {
      // As it was found: whoever comes next is told of the dead owner.
      lock_.give_back();
      return {lock_status::timed_out};
    }
    wait_for(found, until);
  }
  return attempt;
}

lock_attempt shared_lock::lock_shared_until(deadline until) {
  thread_record& record = *self_in(lock_.slot()).record;
  const std::uint32_t wanted = lock_.slot().index() + 1;
  std::atomic<std::uint32_t>* const hold = hold_of(record, 0);
  if (hold == nullptr) {
    throw error(std::make_error_code(std::errc::resource_unavailable_try_again),
                "This thread was to share one more lock, and shares " +
                    std::to_string(thread_record::most_shared_holds) + " already. Unlock one of them first.");
  }
  for (;;) {
    hold->store(wanted, std::memory_order_seq_cst);  // COMMIT, if no writer is there
    const lock_attempt seen = lock_.look();
    if (seen.status != lock_status::timed_out) {
      if (seen.status == lock_status::unrecoverable) {
        (void)unlock_shared();
      }
      return seen;
    }
    (void)unlock_shared();
    const lock_status status = until == no_waiting ? lock_status::timed_out : lock_.wait_until_free(until);
    if (status != lock_status::acquired) {
      return {status};
    }
  }
}

bool shared_lock::unlock_shared() noexcept {
  const self me = known_in(lock_.slot());
  std::atomic<std::uint32_t>* const hold =
      me.record == nullptr ? nullptr : hold_of(*me.record, lock_.slot().index() + 1);
  if (hold == nullptr) {
    return false;
  }
  // Nothing of the lock is touched after that: a writer may have it by then, and destroy it.
  if ((hold->exchange(0, std::memory_order_seq_cst) & awaited) != 0) {
    os::futex_wake(*hold, everybody);
  }
  return true;
}

}  // namespace shoal::sync
