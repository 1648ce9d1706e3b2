#pragma once

#include <cstdint>

#include "memory/arena.hpp"
#include "sync/thread_record.hpp"

// What becomes of a wait whose thread has died. Idempotent, and may be killed half-way: then others are told twice.
// `seen` is the state of the entry in which the thread died; one that has changed since is left alone.
namespace shoal::sync {

/// Clears a place in a wait_line, after what it was notified of was passed on.
void bury_in_line(const memory::arena& arena, wait_entry& entry, std::uint32_t seen) noexcept;

/// Clears a place at a barrier, after that was broken, unless it has gone on meanwhile.
void bury_at_barrier(const memory::arena& arena, wait_entry& entry, std::uint32_t seen) noexcept;

}  // namespace shoal::sync
