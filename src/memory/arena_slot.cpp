#include "shoal/detail/arena_slot.hpp"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "memory/arena.hpp"
#include "shoal/error.hpp"

namespace shoal::memory {
namespace {

constexpr std::size_t largest_class = std::size_t{1} << 20;
constexpr std::size_t arena_size = std::size_t{4} << 20;  // of slots that are so large that not all 960 fit

// Larger slots are not populated in advance: a large array may well be used in part only.
constexpr std::size_t populated_up_to = 32 * 1024;

// Slots from this size on give their pages back to the system when they are dropped, which is cheaper than zeroing
// them.
constexpr std::size_t punched_from = 128 * 1024;
static_assert(punched_from % page_size == 0);

/// Sizes of slots are 64, 128, 192, 256, 384, 512, 768, ...: powers of two, and half-way between.
struct size_class {
  unsigned number;
  std::size_t slot_size;
};

constexpr size_class class_of(std::size_t bytes) noexcept {
  const std::size_t lines = bytes <= arena_slot::size ? 1 : (bytes + arena_slot::size - 1) / arena_slot::size;
  if (lines <= 2) {
    return {static_cast<unsigned>(lines - 1), lines * arena_slot::size};
  }
  // lines is in (half, 2 * half], where half is a power of two.
  const auto power = static_cast<unsigned>(std::bit_width(lines - 1) - 1);
  const std::size_t half = std::size_t{1} << power;
  const std::size_t middle = half + half / 2;
  return lines <= middle ? size_class{2 * power, middle * arena_slot::size}
                         : size_class{2 * power + 1, 2 * half * arena_slot::size};
}

constexpr unsigned classes = class_of(largest_class).number + 1;
static_assert(class_of(0).slot_size == 64 && class_of(64).number == 0 && class_of(65).number == 1);
static_assert(class_of(129).number == 2 && class_of(192).slot_size == 192 && class_of(193).slot_size == 256);
static_assert(class_of(257).slot_size == 384 && class_of(385).slot_size == 512 && class_of(1024).slot_size == 1024);
static_assert(class_of(largest_class).slot_size == largest_class);

/// What is too large to share a segment has one of its own.
std::shared_ptr<arena> arena_for_one(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) {
    throw std::bad_alloc();
  }
  return arena::create((bytes + page_size - 1) / page_size * page_size, 1);
}

}  // namespace

/// Clears a slot at whose first word somebody may look in this moment, who has seen that it is a lock.
void zero_atomically(std::byte* slot) noexcept {
  auto* const words = reinterpret_cast<std::uint64_t*>(slot);
  for (std::size_t i = 0; i < arena_slot::size / sizeof *words; ++i) {
    std::atomic_ref(words[i]).store(0, std::memory_order_relaxed);
  }
}

/// The arenas of this process. Never destroyed: slots may outlive static destructors.
class allocator {
 public:
  static allocator& instance() {
    static allocator& only = *new (storage) allocator();
    return only;
  }

  /// A slot that nobody has, all zero, and the count of forks at that time.
  std::pair<std::shared_ptr<arena>, std::uint32_t> take(std::size_t bytes, std::uint64_t& forks) {
    if (bytes > largest_class) {
      std::shared_ptr<arena> owner = arena_for_one(bytes);
      const std::scoped_lock lock(mutex_);
      remember(owner);
      forks = forks_;
      owner->unused = 1;
      owner->references.store(1, std::memory_order_relaxed);
      return {std::move(owner), 0};
    }
    const size_class wanted = class_of(bytes);
    const std::scoped_lock lock(mutex_);
    arena_list& list = with_room_[wanted.number];
    while (!list.empty() && !list.back()->has_room()) {
      list.back()->listed.store(false, std::memory_order_release);
      list.pop_back();
    }
    if (list.empty()) {
      list.push_back(new_arena(wanted, list));
      list.back()->listed.store(true, std::memory_order_relaxed);
    }
    const std::shared_ptr<arena>& owner = list.back();
    const std::uint32_t index = free_slot(*owner);
    owner->references.fetch_add(1, std::memory_order_relaxed);
    forks = forks_;
    return {owner, index};
  }

  /// Makes the slot available again, if only this process can have known it.
  void give_back(const std::shared_ptr<arena>& owner, std::uint32_t index, std::uint64_t forks) noexcept {
    if (owner->slot_size() > largest_class) {
      return;  // nobody else will need just that size
    }
    std::shared_ptr<arena> superfluous;  // its memory is unmapped without the lock
    const std::scoped_lock lock(mutex_);
    if (forks != forks_) {
      return;  // a child may know the slot
    }
    owner->kinds()[index].store(slot_kind::none, std::memory_order_release);
    const std::size_t bytes = owner->slot_size();
    if (bytes == arena_slot::size) {
      zero_atomically(owner->slot(index));
    } else if (bytes < punched_from || !owner->memory_.punch(page_size + index * bytes, bytes)) {
      std::memset(owner->slot(index), 0, bytes);
    }
    owner->free_list.push_back(index);  // has room for all
    arena_list& list = with_room_[class_of(bytes).number];
    if (!owner->listed.load(std::memory_order_relaxed)) {
      list.push_back(owner);  // has room for all
      owner->listed.store(true, std::memory_order_release);
    } else if (owner->is_empty() && list.size() > 1) {
      owner->listed.store(false, std::memory_order_release);
      const auto place = std::find(list.begin(), list.end(), owner);
      superfluous = std::move(*place);
      list.erase(place);
    }
  }

  // One mapping and one descriptor for all the slots that were received from one arena.
  std::shared_ptr<arena> attach(int descriptor) {
    const file_identity identity = identity_of(descriptor);
    const std::scoped_lock lock(mutex_);
    for (const std::weak_ptr<arena>& known : known_) {
      if (std::shared_ptr<arena> same = known.lock(); same != nullptr && same->identity() == identity) {
        same->references.fetch_add(1, std::memory_order_relaxed);
        return same;
      }
    }
    std::shared_ptr<arena> found = arena::attach(descriptor);
    remember(found);
    found->references.fetch_add(1, std::memory_order_relaxed);
    return found;
  }

  std::vector<std::shared_ptr<arena>> all_small() {
    std::vector<std::shared_ptr<arena>> all;
    const std::scoped_lock lock(mutex_);
    for (const std::weak_ptr<arena>& known : known_) {
      if (std::shared_ptr<arena> one = known.lock(); one != nullptr && one->threads() != nullptr) {
        all.push_back(std::move(one));
      }
    }
    return all;
  }

 private:
  using arena_list = std::vector<std::shared_ptr<arena>>;

  allocator() { ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child); }

  std::shared_ptr<arena> new_arena(const size_class& wanted, arena_list& list) {
    const auto slots =
        static_cast<std::uint32_t>(std::min<std::size_t>(arena::most_slots, arena_size / wanted.slot_size));
    std::shared_ptr<arena> made = arena::create(wanted.slot_size, slots);
    remember(made);
    // So that giving back needs no memory.
    made->free_list.reserve(slots);
    list.reserve(known_.size());
    return made;
  }

  static std::uint32_t free_slot(arena& owner) {
    if (!owner.free_list.empty()) {
      const std::uint32_t index = owner.free_list.back();
      owner.free_list.pop_back();
      return index;
    }
    const std::size_t end = page_size + (owner.unused + std::size_t{1}) * owner.slot_size();
    if (end > owner.populated && owner.slot_size() <= populated_up_to) {
      const std::size_t pages_end = (end + page_size - 1) / page_size * page_size;
      owner.memory_.populate(owner.populated, pages_end - owner.populated);
      owner.populated = pages_end;
    }
    return owner.unused++;
  }

  void remember(const std::shared_ptr<arena>& found) {
    // Only when the list would grow, so that a thousand arenas do not cost the square of that.
    if (known_.size() == known_.capacity()) {
      std::erase_if(known_, [](const std::weak_ptr<arena>& known) { return known.expired(); });
      known_.reserve(2 * known_.size() + 8);
    }
    known_.push_back(found);
  }

  static void before_fork() { instance().mutex_.lock(); }
  static void after_fork_in_parent() {
    ++instance().forks_;
    instance().mutex_.unlock();
  }
  static void after_fork_in_child() {
    // The parent goes on allocating in the arenas that both know; the child begins its own.
    allocator& mine = instance();
    ++mine.forks_;
    for (arena_list& list : mine.with_room_) {
      for (const std::shared_ptr<arena>& parents : list) {
        parents->listed.store(false, std::memory_order_relaxed);
      }
      list.clear();
    }
    mine.mutex_.unlock();
  }

  alignas(std::max_align_t) static std::byte storage[];

  std::mutex mutex_;
  std::uint64_t forks_ = 1;  // forks of this process and its ancestors; 0 is no moment
  std::array<arena_list, classes> with_room_;
  std::vector<std::weak_ptr<arena>> known_;
};

alignas(std::max_align_t) std::byte allocator::storage[sizeof(allocator)];

std::vector<std::shared_ptr<arena>> all_arenas() { return allocator::instance().all_small(); }

arena_slot::arena_slot(std::shared_ptr<arena> owner, std::uint32_t index, std::uint64_t forks) noexcept
    : arena_(std::move(owner)), data_(arena_->slot(index)), private_since_(forks), index_(index) {}

arena_slot arena_slot::allocate(slot_kind kind, std::size_t bytes) {
  std::uint64_t forks = 0;
  auto [owner, index] = allocator::instance().take(bytes, forks);
  arena_slot slot(std::move(owner), index, forks);
  slot.arena_->kinds()[index].store(kind, std::memory_order_release);  // COMMIT
  return slot;
}

arena_slot arena_slot::attach(slot_location location, slot_kind kind) {
  std::shared_ptr<arena> owner = allocator::instance().attach(location.arena);
  const std::uint32_t slots = owner->slots();
  arena_slot slot(std::move(owner), location.index < slots ? location.index : 0, 0);
  if (location.index >= slots) {
    throw error(errc::not_a_segment, "slot " + std::to_string(location.index) + " of an arena was asked for; it has " +
                                         std::to_string(slots) + ".");
  }
  if (const slot_kind found = slot.arena_->kind(location.index); found != kind) {
    throw error(errc::wrong_kind, "slot " + std::to_string(location.index) + " of the arena holds kind " +
                                      std::to_string(static_cast<std::uint32_t>(found)) + ", expected kind " +
                                      std::to_string(static_cast<std::uint32_t>(kind)) + ".");
  }
  return slot;
}

arena_slot::~arena_slot() {
  if (arena_ == nullptr) {
    return;
  }
  if (private_since_ != 0) {
    allocator::instance().give_back(arena_, index_, private_since_);
  }
  arena_->references.fetch_sub(1, std::memory_order_release);
}

std::size_t arena_slot::bytes() const noexcept { return arena_->slot_size(); }

slot_location arena_slot::location() noexcept {
  std::atomic_ref(private_since_).store(0, std::memory_order_relaxed);  // handles are sent by many threads at once
  return {arena_->descriptor(), index_};
}

}  // namespace shoal::memory
