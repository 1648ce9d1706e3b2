#include "memory/arena.hpp"

#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "memory/segment.hpp"
#include "shoal/error.hpp"

namespace shoal::memory {
namespace {

constexpr std::size_t arena_size = 64 * 1024;
constexpr std::uint32_t slots_per_arena = (arena_size - page_size) / arena_slot::size;

struct slot_header {
  slot_kind kind;
  std::uint32_t reserved;
};

/// What makes a file the same as another: device and number on it.
using file_identity = std::pair<dev_t, ino_t>;

file_identity identity_of(int fd) {
  struct stat status {};
  os::check(::fstat(fd, &status), "identifying an arena");
  return {status.st_dev, status.st_ino};
}

segment checked(segment memory, int descriptor) {
  if (memory.size() != arena_size) {
    throw error(errc::truncated_segment,
                "/proc/self/fd/" + std::to_string(descriptor) + " is a damaged Shoal arena: its header says " +
                    std::to_string(memory.size()) + " bytes, expected " + std::to_string(arena_size) + ".");
  }
  memory.grow(arena_size);
  return memory;
}

}  // namespace

class arena {
 public:
  explicit arena(segment memory) : memory_(std::move(memory)), identity_(identity_of(memory_.descriptor())) {}

  [[nodiscard]] std::byte* slot(std::uint32_t index) const noexcept {
    return memory_.data() + page_size + index * arena_slot::size;
  }
  [[nodiscard]] int descriptor() const noexcept { return memory_.descriptor(); }
  [[nodiscard]] const file_identity& identity() const noexcept { return identity_; }

  // Bookkeeping of the process that allocates here; guarded by the allocator's mutex.
  std::uint32_t unused = 0;              // index of the first slot never allocated
  std::vector<std::uint32_t> free_list;  // slots given back
  bool listed = false;                   // among those that the allocator looks for room in
  [[nodiscard]] bool has_room() const noexcept { return unused < slots_per_arena || !free_list.empty(); }

 private:
  segment memory_;
  file_identity identity_;
};

namespace {

/// The arenas of this process. Never destroyed: slots may outlive static destructors.
class allocator {
 public:
  static allocator& instance() {
    static allocator& only = *new (storage) allocator();
    return only;
  }

  std::pair<std::shared_ptr<arena>, std::uint32_t> take(std::uint64_t& forks) {
    const std::scoped_lock lock(mutex_);
    while (!with_room_.empty() && !with_room_.back()->has_room()) {
      with_room_.back()->listed = false;
      with_room_.pop_back();
    }
    if (with_room_.empty()) {
      segment memory = segment::create(segment_kind::arena, "", arena_size);
      memory.grow(arena_size);
      with_room_.push_back(std::make_shared<arena>(std::move(memory)));
      with_room_.back()->listed = true;
      with_room_.back()->free_list.reserve(slots_per_arena);  // so that giving back needs no memory
    }
    forks = forks_;
    const std::shared_ptr<arena>& owner = with_room_.back();
    if (!owner->free_list.empty()) {
      const std::uint32_t index = owner->free_list.back();
      owner->free_list.pop_back();
      return {owner, index};
    }
    return {owner, owner->unused++};
  }

  void give_back(const std::shared_ptr<arena>& owner, std::uint32_t index, std::uint64_t forks) {
    const std::scoped_lock lock(mutex_);
    if (forks != forks_) {
      return;  // a child may know the slot
    }
    std::memset(owner->slot(index), 0, arena_slot::size);
    owner->free_list.push_back(index);
    if (!owner->listed) {
      with_room_.push_back(owner);
      owner->listed = true;
    }
  }

  // One mapping and one descriptor for all the slots that were received from one arena.
  std::shared_ptr<arena> attach(int descriptor) {
    const file_identity identity = identity_of(descriptor);
    const std::scoped_lock lock(mutex_);
    std::erase_if(attached_, [](const std::weak_ptr<arena>& known) { return known.expired(); });
    for (const std::weak_ptr<arena>& known : attached_) {
      if (std::shared_ptr<arena> same = known.lock(); same != nullptr && same->identity() == identity) {
        return same;
      }
    }
    auto found = std::make_shared<arena>(checked(segment::attach(descriptor, segment_kind::arena), descriptor));
    attached_.push_back(found);
    return found;
  }

 private:
  allocator() { ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child); }

  static void before_fork() { instance().mutex_.lock(); }
  static void after_fork_in_parent() {
    ++instance().forks_;
    instance().mutex_.unlock();
  }
  static void after_fork_in_child() {
    // The parent goes on allocating in the arenas that both know; the child begins its own.
    ++instance().forks_;
    instance().with_room_.clear();
    instance().mutex_.unlock();
  }

  alignas(std::max_align_t) static std::byte storage[];

  std::mutex mutex_;
  std::uint64_t forks_ = 1;  // forks of this process and its ancestors; 0 is no moment
  std::vector<std::shared_ptr<arena>> with_room_;
  std::vector<std::weak_ptr<arena>> attached_;
};

alignas(std::max_align_t) std::byte allocator::storage[sizeof(allocator)];

}  // namespace

arena_slot::arena_slot(std::shared_ptr<arena> owner, std::uint32_t index, std::uint64_t forks) noexcept
    : arena_(std::move(owner)), index_(index), private_since_(forks) {}

arena_slot arena_slot::allocate(slot_kind kind) {
  std::uint64_t forks = 0;
  auto [owner, index] = allocator::instance().take(forks);
  arena_slot slot(std::move(owner), index, forks);
  new (slot.arena_->slot(index)) slot_header{kind, 0};
  return slot;
}

arena_slot arena_slot::attach(slot_location location, slot_kind kind) {
  std::shared_ptr<arena> owner = allocator::instance().attach(location.arena);
  if (location.index >= slots_per_arena) {
    throw error(errc::not_a_segment, "slot " + std::to_string(location.index) + " of an arena was asked for; it has " +
                                         std::to_string(slots_per_arena) + ".");
  }
  if (const slot_kind found = reinterpret_cast<const slot_header*>(owner->slot(location.index))->kind; found != kind) {
    throw error(errc::wrong_kind, "slot " + std::to_string(location.index) + " of the arena holds kind " +
                                      std::to_string(static_cast<std::uint32_t>(found)) + ", expected kind " +
                                      std::to_string(static_cast<std::uint32_t>(kind)) + ".");
  }
  return {std::move(owner), location.index, 0};
}

arena_slot::~arena_slot() {
  if (arena_ != nullptr && private_since_ != 0) {
    allocator::instance().give_back(arena_, index_, private_since_);
  }
}

std::byte* arena_slot::payload() const noexcept { return arena_->slot(index_) + sizeof(slot_header); }

slot_location arena_slot::location() noexcept {
  private_since_ = 0;
  return {arena_->descriptor(), index_};
}

}  // namespace shoal::memory
