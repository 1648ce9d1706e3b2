#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "memory/segment.hpp"
#include "queue/layout.hpp"

namespace shoal::queue {

[[noreturn]] void throw_corrupt(const std::string& found);

/// The chunks of a queue: which are free, where new ones come from, and when their memory goes back to the system.
///
/// The chain leads from the oldest chunk through the head's to the tail's. Consumers free a chunk by moving on from it,
/// and nothing else: so they need no lock but their own, and there is no state between "in use" and "free" for them to
/// be killed in. Producers later put the chunks that were left onto the stacks of free ones. Those whose memory is
/// there come first.
///
/// Not a copy of shared state but a way to work on it. Which lock a call needs is said there.
class chunk_heap {
 public:
  chunk_heap(const memory::segment& segment, control& shared) noexcept;

  /// For a new segment: the first chunk.
  void initialize();

  [[nodiscard]] chunk& operator[](std::uint32_t index) const noexcept { return table_[index]; }
  /// @throws shoal::error  it lies outside the segment.
  [[nodiscard]] chunk& checked(std::uint32_t index) const {
    chunk& found = table_[index];
    if (index >= shared_->chunk_limit || (found.offset | found.size) % memory::page_size != 0 ||
        found.size < chunk_size || found.offset > segment_->size() || found.size > segment_->size() - found.offset)
        [[unlikely]] {
      throw_outside(index);
    }
    return found;
  }
  [[nodiscard]] std::byte* data(const chunk& of) const noexcept { return segment_->data() + of.offset; }

  // Under the tail lock.

  /// A free chunk with room for `space` bytes; it belongs to nobody until it is linked, reserved or put away. Its
  /// memory may have to be populated. @throws std::bad_alloc  no memory.
  [[nodiscard]] std::uint32_t take(std::uint64_t space);
  /// Makes a taken chunk free again, or sets it aside while somebody still reads it.
  void put_away(std::uint32_t index);
  /// Lets process `owner` write to a taken chunk. @return false if too many are being written to.
  bool reserve(std::uint32_t index, std::uint64_t owner);
  void end_reservation(std::uint32_t index) noexcept;
  /// Finds the chunks that a dead holder of the lock has left with nobody.
  void recover();

  /// Counts anew what a dead process has left miscounted. Under either lock.
  void recount() const noexcept;

  // By whoever has a chunk to itself.

  /// Gives memory to the first `size` bytes of a chunk. @throws std::bad_alloc  no memory.
  void populate(chunk& made, std::uint64_t size) const;
  /// Gives memory back to the system, if much more is idle than will soon be used again.
  void trim(chunk& unused) const noexcept;

  /// Under the tail lock: looks after some chunks that consumers have left, and that were in use then.
  void tidy();

  /// Under the head lock, after the head has moved from chunk `left` to chunk `now`, and before this is published.
  void trim_left(std::uint32_t left, std::uint32_t now) const;

 private:
  using stack = std::uint32_t;  // the index of the topmost, plus one

  [[noreturn]] static void throw_outside(std::uint32_t index);
  void push(stack& onto, std::uint32_t index) const noexcept;
  [[nodiscard]] std::uint32_t pop(stack& from) const noexcept;  // index + 1, or no_chunk
  [[nodiscard]] std::uint32_t pop_of_class(std::size_t size_class) noexcept;
  void mark_stack(stack from, std::uint32_t epoch) const;
  [[nodiscard]] bool is_in_use(chunk& left) const;
  [[nodiscard]] bool is_leased(std::uint32_t index) const;
  [[nodiscard]] bool was_left_before(std::uint32_t index, int count, std::uint32_t first_used) const;
  void collect(int most, int but);
  void look_at_held(int most);
  void end_reservations_of_the_dead();
  [[nodiscard]] std::uint32_t grow(std::uint64_t space);

  const memory::segment* segment_;
  control* shared_;
  heap_state* heap_;
  chunk* table_;
  ledger_entry* ledger_;
};

}  // namespace shoal::queue
