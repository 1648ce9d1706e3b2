#include "sync/thread_record.hpp"

#include <linux/futex.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "memory/segment.hpp"
#include "os/forks.hpp"
#include "os/process_identity.hpp"
#include "shoal/error.hpp"
#include "sync/burial.hpp"
#include "sync/event_count.hpp"
#include "sync/owner_lock.hpp"

namespace shoal::sync {
namespace {

constexpr std::size_t record_size = sizeof(thread_record);
constexpr std::size_t records_offset = memory::page_size;  // behind the header
constexpr std::size_t texts_offset = records_offset + thread_table::most_threads * record_size;
static_assert(record_size == 256 && memory::page_size % record_size == 0);
static_assert(texts_offset + thread_table::most_threads * thread_table::text_size <= memory::arena::threads_bytes);
constexpr int everybody = std::numeric_limits<int>::max();
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

/// What a robust, process-shared mutex looks like that nobody has locked. In the C library's that is one field; whoever
/// writes it writes the same.
struct fresh_mutex {
  fresh_mutex() noexcept {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_t mutex;
    std::memset(&mutex, 0, sizeof mutex);
    ::pthread_mutex_init(&mutex, &attributes);
    ::pthread_mutexattr_destroy(&attributes);
    kind = mutex.__data.__kind;
  }
  int kind;
};

void make_usable(thread_record& record) noexcept {
  static const fresh_mutex fresh;
  std::atomic_ref<int>(record.alive.__data.__kind).store(fresh.kind, std::memory_order_release);
}

bool take(thread_record& record) noexcept {
  switch (::pthread_mutex_trylock(&record.alive)) {
    case EOWNERDEAD:
      ::pthread_mutex_consistent(&record.alive);
      return true;
    case 0:
      return true;
    default:
      return false;
  }
}

// Of this process, once it was looked at; a child looks anew.
std::atomic<std::uint64_t> own_start{os::unknown_start};

std::uint64_t start_of_this_process() noexcept {
  std::uint64_t start = own_start.load(std::memory_order_relaxed);
  if (start == os::unknown_start) {
    start = os::start_of_living_process(::getpid());
    // It does exist: what cannot be found now may be found later.
    start = start == os::no_process ? os::unknown_start : start;
    own_start.store(start, std::memory_order_relaxed);
  }
  return start;
}

}  // namespace

struct thread_table::header {
  std::atomic<std::uint32_t> used;
};

namespace {

thread_table::header& header_of(const memory::arena& arena) noexcept {
  return *reinterpret_cast<thread_table::header*>(arena.threads());
}

/// Whether a lock of the arena is held by `id`, so that it must stay known who that was.
bool is_referred_to(const memory::arena& arena, owner_id id) noexcept {
  for (std::uint32_t slot = 0; slot < arena.slots(); ++slot) {
    switch (arena.kind(slot)) {
      case memory::slot_kind::mutex:
      case memory::slot_kind::recursive_mutex:
      case memory::slot_kind::shared_mutex: {
        const auto& lock = *reinterpret_cast<const owner_lock_state*>(arena.slot(slot));
        if ((lock.word.load(std::memory_order_relaxed) & owner_mask) == id) {
          return true;
        }
        break;
      }
      default:
        break;
    }
  }
  return false;
}

/// What others need to know of a wait whose thread has died.
void bury(const memory::arena& arena, wait_entry& entry) noexcept {
  const std::uint32_t seen = entry.state.load(std::memory_order_seq_cst);
  if (wait_entry::is_idle(seen)) {
    return;
  }
  switch (arena.kind(entry.slot.load(std::memory_order_acquire))) {
    case memory::slot_kind::barrier:
      bury_at_barrier(arena, entry, seen);
      break;
    case memory::slot_kind::condition_variable:
      bury_in_line(arena, entry, seen);
      break;
    default:  // what it waited for was destroyed, and the slot may be something else by now
      entry.state.store(wait_entry::with(seen, wait_entry::idle), std::memory_order_seq_cst);
  }
}

owner_id id_of(std::uint32_t index, std::uint32_t generation) noexcept {
  return owner_id{generation} << 32 | (index + 1) << 8;
}

/// Makes a record the calling thread's, which has just locked it.
self settle_in_record(const memory::arena& arena, thread_record& record, std::uint32_t index) {
  // What the former thread was notified of has to be passed on before it is forgotten.
  for (wait_entry& entry : record.waits) {
    bury(arena, entry);
  }
  const std::uint32_t generation = record.generation.load(std::memory_order_relaxed) + 1;
  record.generation.store(generation, std::memory_order_seq_cst);
  for (auto& hold : record.shared_holds) {
    // A writer that looks in this moment takes the former reader, in a record that is alive again, for alive.
    if ((hold.exchange(0, std::memory_order_seq_cst) & thread_record::hold_awaited) != 0) {
      os::futex_wake(hold, everybody);
    }
  }
  record.waits_for.store(0, std::memory_order_relaxed);
  // Released after the generation, and acquired before it: who reads them and then finds the generation unchanged has
  // not read those of a later thread.
  record.process.store(::getpid(), std::memory_order_release);
  record.thread.store(::gettid(), std::memory_order_release);
  record.process_start.store(start_of_this_process(), std::memory_order_release);
  std::atomic<std::uint32_t>& known = header_of(arena).used;
  std::uint32_t used = known.load(std::memory_order_relaxed);
  while (used <= index && !known.compare_exchange_weak(used, index + 1, std::memory_order_seq_cst)) {
  }
  // For who fell asleep on the life of the former thread while it seemed to have a new one.
  os::futex_wake(record.alive_word(), everybody);
  return {&record, id_of(index, generation)};
}

/// Takes a record that nobody has.
self settle(const memory::arena& arena) {
  const thread_table table(arena);
  arena.populate_threads(0, memory::page_size);
  const std::uint32_t used = table.used();
  for (std::uint32_t index = 0; index < thread_table::most_threads; ++index) {
    if (index >= used) {  // whoever had the others has populated them
      arena.populate_threads(records_offset + index * record_size, record_size);
    }
    thread_record& record = table.at(index);
    if (thread_table::is_alive(record)) {
      continue;
    }
    make_usable(record);
    if (!take(record)) {
      continue;
    }
    if (is_referred_to(arena, id_of(index, record.generation.load(std::memory_order_relaxed)))) {
      ::pthread_mutex_unlock(&record.alive);
      continue;
    }
    return settle_in_record(arena, record, index);
  }
  throw std::bad_alloc();
}

/// A record of a thread of this process, and its arena, which has to stay mapped until the kernel has gone through the
/// robust list of the thread: until that has ended, or has left.
struct place {
  std::shared_ptr<memory::arena> arena;
  self me;
};
using places = std::vector<place>;

constinit thread_local places* mine = nullptr;

/// What all threads of this process have, those that have ended too until somebody looks. Never destroyed: static
/// destructors may lock.
class presence {
 public:
  static presence& instance() {
    static auto* const only = new presence();  // NOLINT(cppcoreguidelines-owning-memory)
    return *only;
  }

  self settle_in(const std::shared_ptr<memory::arena>& arena) {
    const std::scoped_lock lock(mutex_);
    if (all_.size() >= next_look_) {  // seldom enough not to be felt by who starts many threads
      std::erase_if(all_, [](const std::unique_ptr<places>& known) { return has_ended(*known); });
      next_look_ = 2 * all_.size() + fewest_to_look_through;
    }
    if (mine == nullptr) {
      auto made = std::make_unique<places>();
      all_.reserve(all_.size() + 1);
      mine = made.get();
      all_.push_back(std::move(made));
    }
    places& list = *mine;
    leave_abandoned(list);
    list.reserve(list.size() + 1);
    const self me = settle(*arena);
    list.push_back({arena, me});
    return me;
  }

 private:
  presence() { ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child); }

  static constexpr std::size_t fewest_to_look_through = 16;

  // An empty list may be that of a living thread, which has left all arenas and found no memory for another.
  static bool has_ended(const places& known) noexcept {
    return &known != mine && !known.empty() &&
           std::ranges::none_of(known, [](const place& at) { return thread_table(*at.arena).is_alive(at.me.id); });
  }

  // The arenas that no object of this process lies in any more.
  static void leave_abandoned(places& list) noexcept {
    known_self = {};
    std::erase_if(list, [](const place& at) {
      if (!at.arena->idle()) {
        return false;
      }
      ::pthread_mutex_unlock(&at.me.record->alive);
      return true;
    });
  }

  static void before_fork() { instance().mutex_.lock(); }
  static void after_fork_in_parent() { instance().mutex_.unlock(); }
  static void after_fork_in_child() {
    // The records are those of the parent's threads.
    known_self = {};
    mine = nullptr;
    own_start.store(os::unknown_start, std::memory_order_relaxed);
    instance().all_.clear();
    instance().mutex_.unlock();
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<places>> all_;
  std::size_t next_look_ = fewest_to_look_through;  // when there are so many
};

// Before anybody can fork while it is being made.
[[maybe_unused]] const presence& made_early = presence::instance();

}  // namespace

constinit thread_local cached_self known_self [[gnu::tls_model("initial-exec")]]{};

self known_in(const memory::arena_slot& slot) noexcept {
  if (known_self.arena == &slot.home()) {
    return known_self.me;
  }
  if (mine != nullptr) {
    for (const place& at : *mine) {
      if (at.arena == slot.shared_home()) {
        known_self = {at.arena.get(), at.me};
        return at.me;
      }
    }
  }
  return {};
}

self find_self(const memory::arena_slot& slot) {
  self me = known_in(slot);
  if (me.record == nullptr) {
    me = presence::instance().settle_in(slot.shared_home());
    known_self = {&slot.home(), me};
  }
  return me;
}

std::uint32_t thread_table::used() const noexcept { return header_of(arena_).used.load(std::memory_order_seq_cst); }

thread_record& thread_table::at(std::uint32_t index) const noexcept {
  return *reinterpret_cast<thread_record*>(arena_.threads() + records_offset + index * record_size);
}

thread_record* thread_table::record_of(owner_id id) const noexcept {
  const auto index = (static_cast<std::uint32_t>(id) >> 8) - 1;
  return index < most_threads ? &at(index) : nullptr;
}

owner_id thread_table::id_at(std::uint32_t index) const noexcept {
  return id_of(index, at(index).generation.load(std::memory_order_seq_cst));
}

bool thread_table::is_alive(thread_record& record) noexcept {
  return (record.alive_word().load(std::memory_order_seq_cst) & FUTEX_TID_MASK) != 0;
}

bool thread_table::is_alive(owner_id id) const noexcept {
  thread_record* const record = record_of(id);
  // In this order: a thread that takes over the record of a dead one is alive first, and then changes the generation.
  return record != nullptr && is_alive(*record) && record->generation.load(std::memory_order_seq_cst) == id >> 32;
}

bool thread_table::is_process_alive(owner_id id) const noexcept {
  if (is_alive(id)) {
    return true;
  }
  thread_record* const record = record_of(id);
  if (record == nullptr || record->generation.load(std::memory_order_seq_cst) != id >> 32) {
    return false;
  }
  const std::uint64_t then = record->process_start.load(std::memory_order_acquire);
  const std::uint64_t now = os::start_of_living_process(record->process.load(std::memory_order_acquire));
  // Who cannot tell must not take anything away.
  return now != os::no_process && (now == then || now == os::unknown_start || then == os::unknown_start);
}

thread_identity thread_table::identity(owner_id id) const noexcept {
  thread_record* const record = record_of(id);
  if (record == nullptr) {
    return {};
  }
  const thread_identity found{record->process.load(std::memory_order_acquire),
                              record->thread.load(std::memory_order_acquire)};
  return record->generation.load(std::memory_order_seq_cst) == id >> 32 ? found : thread_identity{};
}

std::string thread_table::text_of(std::uint32_t index) const {
  std::array<char, text_size> text{};
  std::memcpy(text.data(), arena_.threads() + texts_offset + index * text_size, text.size() - 1);
  return text.data();
}

void thread_table::set_text(std::uint32_t index, std::string_view text) const {
  const std::size_t offset = texts_offset + index * text_size;
  arena_.populate_threads(offset, text_size);
  auto* const to = reinterpret_cast<char*>(arena_.threads() + offset);
  const std::size_t size = std::min(text.size(), text_size - 1);
  std::memcpy(to, text.data(), size);
  std::memset(to + size, 0, text_size - size);
}

wait_entry& idle_entry(thread_record& record) {
  for (wait_entry& entry : record.waits) {
    if (wait_entry::is_idle(entry.state.load(std::memory_order_relaxed))) {
      return entry;
    }
  }
  throw error(std::make_error_code(std::errc::resource_unavailable_try_again),
              "This thread was to wait for one more condition or barrier, and waits for " +
                  std::to_string(thread_record::most_waits) +
                  " already: a signal handler that waits was interrupted by another. Do not wait in signal handlers.");
}

bool sleep_while_alive(const os::futex_word& word, std::uint32_t expected, const thread_table& threads, owner_id owner,
                       deadline until) {
  os::futex_word& alive = threads.record_of(owner)->alive_word();
  std::uint32_t seen = alive.load(std::memory_order_seq_cst);
  while ((seen & FUTEX_TID_MASK) != 0 && (seen & FUTEX_WAITERS) == 0 &&
         !alive.compare_exchange_weak(seen, seen | FUTEX_WAITERS, std::memory_order_seq_cst)) {
  }
  if (!threads.is_alive(owner)) {  // or another has its record now
    return true;
  }
  const deadline next_tick = std::chrono::steady_clock::now() + event_count::tick;
  switch (os::futex_wait_either({&word, expected}, {&alive, seen | FUTEX_WAITERS}, std::min(until, next_tick))) {
    case os::futex_result::second_woken:
      // The kernel wakes one of those who sleep on the death of a thread; it may have held more than one lock. Whoever
      // has its record by now has no sleepers that this could harm.
      os::futex_wake(alive, everybody);
      return true;
    case os::futex_result::woken:
    case os::futex_result::changed:
      return true;
    case os::futex_result::timed_out:
    case os::futex_result::interrupted:
      return false;
  }
  return false;
}

waiting_mark::waiting_mark(thread_record& record, const memory::arena_slot& slot) noexcept
    : record_(record),
      made_in_(os::generation()),
      outer_slot_(record.waits_for.load(std::memory_order_relaxed)),
      outer_since_(record.waits_since.load(std::memory_order_relaxed)) {
  if (outer_slot_ != slot.index() + 1) {  // else it waits on
    record.waits_since.store(coarse_now(), std::memory_order_relaxed);
    record.waits_for.store(slot.index() + 1, std::memory_order_release);
  }
}

waiting_mark::~waiting_mark() {
  if (made_in_ != os::generation()) {
    return;
  }
  record_.waits_since.store(outer_since_, std::memory_order_relaxed);
  record_.waits_for.store(outer_slot_, std::memory_order_release);
}

std::int64_t coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

}  // namespace shoal::sync
