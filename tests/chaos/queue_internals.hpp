#pragma once

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "memory/segment.hpp"
#include "queue/holder.hpp"
#include "queue/layout.hpp"
#include "shoal/byte_queue.hpp"

namespace shoal::test {

/// The control block of a queue, seen from a second mapping.
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

  [[nodiscard]] std::uint32_t chunk_count() const { return control().heap.chunk_count; }

  /// How many chunks processes, dead or alive, are writing to.
  [[nodiscard]] std::ptrdiff_t reserved() const {
    return std::count_if(control().reserved.begin(), control().reserved.end(),
                         [](std::uint32_t place) { return place != queue::no_chunk; });
  }

  /// How many chunks are set aside because somebody reads or has leased what is there.
  [[nodiscard]] std::size_t held() const {
    return stack(control().heap.held[0]).size() + stack(control().heap.held[1]).size();
  }

  /// How many chunks are free, and have no memory.
  [[nodiscard]] std::size_t cold() const {
    return std::transform_reduce(control().heap.cold.begin(), control().heap.cold.end(), std::size_t{0}, std::plus<>(),
                                 [this](std::uint32_t top) { return stack(top).size(); });
  }

  /// While both locks are free and nobody was killed since: what is wrong with the places that chunks have, or nothing.
  [[nodiscard]] std::string misplaced() const {
    std::ostringstream wrong;
    std::vector<int> places(chunk_count());
    const auto put = [&](std::uint32_t index) {
      if (index < places.size()) {
        ++places[index];
      } else {
        wrong << "there is no chunk " << index << "; ";
      }
    };
    const std::vector<std::uint32_t> chain = chain_of_records();
    std::for_each(chain.begin(), chain.end(), put);
    for (std::size_t size_class = 0; size_class < queue::size_classes; ++size_class) {
      for (const bool warm : {true, false}) {
        for (const std::uint32_t index : stack((warm ? control().heap.warm : control().heap.cold)[size_class])) {
          put(index);
          if (queue::size_class_of(table(index).size) != size_class || (table(index).resident != 0) != warm) {
            wrong << "chunk " << index << " is in the wrong stack; ";
          }
        }
      }
    }
    for (const std::uint32_t top : control().heap.held) {
      const std::vector<std::uint32_t> members = stack(top);
      std::for_each(members.begin(), members.end(), put);
    }
    for (const std::uint32_t place : control().reserved) {
      if (place != queue::no_chunk) {
        put(place - 1);
      }
    }
    for (std::size_t index = 0; index < places.size(); ++index) {
      if (places[index] != 1) {
        wrong << "chunk " << index << " of " << places.size() << " is in " << places[index] << " places; ";
      }
    }
    return wrong.str();
  }

  /// How many chunks belong to a process, dead or alive, that writes or reads them in place.
  [[nodiscard]] std::size_t owned() const {
    std::size_t count = 0;
    for (std::uint32_t index = 0; index < chunk_count(); ++index) {
      count += table(index).owner != 0 ? 1 : 0;
    }
    return count;
  }

  /// How many records are on lease and no longer in the queue.
  [[nodiscard]] std::ptrdiff_t leased() const {
    const auto* const entries = segment_.at<queue::ledger_entry>(queue::places(segment_.size()).ledger_offset);
    const std::uint64_t popped = control().head.popped.count();
    return std::count_if(entries, entries + control().ledger.used, [popped](const queue::ledger_entry& entry) {
      return entry.word != queue::free_lease && entry.word != queue::returned_lease && entry.ticket < popped;
    });
  }

  /// What the counters of memory say, less what they should.
  [[nodiscard]] std::int64_t resident_too_much() const {
    std::int64_t resident = 0;
    for (std::uint32_t index = 0; index < chunk_count(); ++index) {
      resident += static_cast<std::int64_t>(table(index).resident.load());
    }
    const auto excess = static_cast<std::int64_t>(control().resident.load()) - resident;
    return excess == pretended_ ? 0 : excess;  // whoever counts anew does not count what is pretended
  }
  [[nodiscard]] std::int64_t lent_too_much() const {
    std::int64_t lent = 0;
    for (std::uint32_t index = 0; index < chunk_count(); ++index) {
      lent += table(index).owner != 0 ? static_cast<std::int64_t>(table(index).size) : 0;
    }
    return static_cast<std::int64_t>(control().lent.load()) - lent;
  }

  /// Makes the queue believe that so much memory is idle, which would take long to make true.
  void pretend_resident(std::int64_t bytes) {
    control().resident.fetch_add(static_cast<std::uint64_t>(bytes));
    pretended_ = bytes;
  }

 private:
  [[nodiscard]] queue::control& control() const { return *segment_.at<queue::control>(queue::control_offset); }
  [[nodiscard]] const queue::chunk& table(std::uint32_t index) const {
    return segment_.at<queue::chunk>(queue::table_offset)[index];
  }

  // One that has no end is cut off behind more chunks than there are.
  [[nodiscard]] std::vector<std::uint32_t> stack(std::uint32_t top) const {
    std::vector<std::uint32_t> found;
    while (top != queue::no_chunk && found.size() <= chunk_count()) {
      found.push_back(top - 1);
      top = table(top - 1).next;
    }
    return found;
  }
  [[nodiscard]] std::vector<std::uint32_t> chain_of_records() const {
    std::vector<std::uint32_t> found = {control().heap.oldest};
    while (found.back() != control().tail.pushed.get().chunk && found.size() <= chunk_count()) {
      found.push_back(table(found.back()).next);
    }
    return found;
  }

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
  std::int64_t pretended_ = 0;
};

}  // namespace shoal::test
