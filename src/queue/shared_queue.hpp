#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "os/death_notice.hpp"
#include "queue/batching.hpp"
#include "queue/chunk_heap.hpp"
#include "queue/holder.hpp"
#include "queue/layout.hpp"
#include "queue/lease_ledger.hpp"
#include "queue/queue_segment.hpp"
#include "queue/readiness.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::queue {

/// A chunk that a process has to itself, to read or to write a record in place.
struct loan {
  std::shared_ptr<const holder> owner;
  std::uint32_t chunk = 0;
  std::span<std::byte> bytes;
  encoding tag = encoding::raw;
};

/// A record on lease.
struct lease_place {
  std::shared_ptr<const holder> owner;
  std::uint32_t entry = 0;
  std::uint64_t ticket = 0;
  encoding tag = encoding::raw;
  const_bytes bytes;  // in shared memory, as long as the lease is active
};

/// The queue in its segment: appending, removing and recovering, each done at once; byte_queue adds the waiting.
class shared_queue {
 public:
  enum class outcome {
    done,
    not_now,  ///< full, or empty
    closed,
    busy,  ///< the lock did not come free: its holder is stopped, or many wait for it
  };

  explicit shared_queue(const queue_options& options);
  explicit shared_queue(queue_descriptors descriptors);

  // All of these wait for nothing but a lock, for a tenth of a second at the most, and with no_waiting for some
  // microseconds.

  outcome push(const outgoing_record& what, deadline until);
  outcome push_many(std::span<const outgoing_record> records, std::size_t& pushed, deadline until);
  outcome pop(record& out, std::atomic<std::uint64_t>* claim, deadline until);
  /// @param large  not null: a large record in front is taken alone, in place.
  outcome pop_many(record_batch& out, loan* large, std::size_t most, std::size_t& popped, deadline until);

  /// Takes a large record in place, any other into `copy`.
  outcome borrow(loan& out, record& copy, std::atomic<std::uint64_t>* claim, deadline until);
  /// Whether a push would find room now.
  outcome look_for_room(deadline until);
  /// @return not_now: too many are being written to, or the system does not let a process own anything; push a copy.
  outcome reserve(loan& out, std::size_t size, deadline until);
  outcome push_reserved(const loan& ready, encoding tag, deadline until);
  /// Ends a loan that was borrowed.
  void give_back(const loan& unused) noexcept;
  /// Ends a loan that was reserved.
  void cancel(const loan& unused) noexcept;

  outcome lease(lease_place& out, deadline until);
  bool acknowledge(const lease_place& done) noexcept;
  outcome give_back(const lease_place& unused, deadline until);
  /// Gives it back later: whoever next looks for the leases of the dead finds it.
  void abandon(const lease_place& unused) noexcept;

  outcome close(deadline until);
  outcome clear(std::size_t& dropped, deadline until);
  outcome start_polling(deadline until);
  outcome start_polling_room(deadline until);

  [[nodiscard]] std::uint64_t pushed() const noexcept { return control_->tail.pushed.count(); }
  [[nodiscard]] std::uint64_t popped() const noexcept { return control_->head.popped.count(); }
  [[nodiscard]] std::uint64_t size() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] bool is_full() const noexcept;
  [[nodiscard]] bool is_bounded() const noexcept { return control_->capacity != 0 || control_->capacity_bytes != 0; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return control_->capacity; }
  [[nodiscard]] std::uint64_t capacity_bytes() const noexcept { return control_->capacity_bytes; }
  [[nodiscard]] std::uint32_t leased() const noexcept { return ledger_.count(); }
  [[nodiscard]] bool is_closed() const noexcept { return control_->closed.load(std::memory_order_seq_cst) != 0; }

  [[nodiscard]] sync::event_count& items() noexcept { return control_->items; }
  [[nodiscard]] sync::event_count& space() noexcept { return control_->space; }
  [[nodiscard]] sync::event_count& all_done() noexcept { return control_->all_done; }
  [[nodiscard]] std::atomic<std::uint64_t>& done() noexcept { return control_->done; }

  // Whether the descriptor says that there is something, or room. If there is none, who raised it is about to COMMIT.
  [[nodiscard]] bool says_ready() const noexcept { return ready_.may_be_raised(); }
  [[nodiscard]] bool says_room() const noexcept { return room_.may_be_raised(); }

  [[nodiscard]] queue_descriptors descriptors();
  [[nodiscard]] int readiness_descriptor() { return ready_.descriptor(); }
  [[nodiscard]] int room_descriptor() { return room_.descriptor(); }

 private:
  class guard;
  struct front;

  guard lock_tail(deadline until);
  guard lock_head(deadline until);
  struct both;
  both lock_both(deadline until);
  guard spin_lock_tail();
  guard spin_lock_head();
  template <class Recover>
  guard recovered(sync::robust_mutex& mutex, sync::lock_result result, Recover recover);
  guard tail_guard(sync::lock_result result);
  guard head_guard(sync::lock_result result);

  bool has_room(std::uint64_t count, std::uint64_t bytes);
  void append(position& at, const outgoing_record& what, std::size_t size);
  [[nodiscard]] position make_room(const position& at, std::size_t size);
  void link(const position& from, std::uint32_t next);
  void lower_room();

  [[nodiscard]] record_header& header_at(const chunk& in, std::uint64_t offset) const noexcept;
  [[nodiscard]] bool is_end_of_chunk(const position& at) const;
  void read(front& of) const;
  outcome find_front(front& out);
  void move_to_next(position& at) const;
  void advance(const position& to, std::uint64_t records, std::atomic<std::uint64_t>* claim = nullptr);
  void take_returned(const front& taken, std::uint64_t owner);
  void look_for_dead_holders(bool is_empty);
  enum class giving_way { never, once };
  bool lower_readiness(giving_way way);
  void lower_unless_leases_come_back();

  template <class MakeRoom>
  outcome take(MakeRoom make_room, std::atomic<std::uint64_t>* claim, deadline until);
  [[nodiscard]] std::shared_ptr<const holder> new_owner(const front& taken, std::shared_ptr<const holder>& kept,
                                                        holder::in_child fate);
  void lend(const front& taken, std::shared_ptr<const holder> to, loan& out) noexcept;
  void give_notice() noexcept;
  std::shared_ptr<const holder> holder_of(std::shared_ptr<const holder>& kept, holder::in_child fate);

  queue_segment segment_;
  control* control_;
  chunk_heap heap_;
  lease_ledger ledger_;
  readiness ready_;
  readiness room_;
  batching room_batching_;
  batching arrivals_;
  std::atomic<std::int64_t> next_look_{0};  // at the holders of leases, on the steady clock

  // This process as an owner. Read and changed under a no_fork, so that a child finds them whole.
  std::shared_ptr<const holder> reader_;    // of what it borrows
  std::shared_ptr<const holder> writer_;    // of what it reserves or has on lease, which is not for its children
  std::optional<os::death_notice> notice_;  // under the head lock
  std::uint64_t noticed_by_ = 0;            // the generation
};

}  // namespace shoal::queue
