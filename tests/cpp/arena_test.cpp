#include "memory/arena.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memory/segment.hpp"
#include "process_support.hpp"
#include "shoal/error.hpp"
#include "shoal/process.hpp"

namespace {

using shoal::process;
using shoal::slot_location;
using shoal::memory::all_arenas;
using shoal::memory::arena;
using shoal::memory::arena_slot;
using shoal::memory::segment;
using shoal::memory::segment_kind;
using shoal::memory::slot_kind;
using shoal::test::eventually;
using shoal::test::open_descriptors;
using shoal::test::shared;

arena_slot block(std::size_t bytes = arena_slot::size) { return arena_slot::allocate(slot_kind::block, bytes); }

bool is_zero(const arena_slot& slot) {
  return std::all_of(slot.data(), slot.data() + slot.bytes(), [](std::byte one) { return one == std::byte{0}; });
}

void fill(const arena_slot& slot) { std::memset(slot.data(), 0xff, slot.bytes()); }

TEST(Arena, ManySlotsShareADescriptor) {
  const auto before = open_descriptors();
  std::vector<arena_slot> held;
  for (int i = 0; i < 10'000; ++i) {
    held.push_back(block());
  }
  EXPECT_LT(open_descriptors() - before, 20);
}

TEST(Arena, ManyBlocksShareADescriptor) {
  const auto before = open_descriptors();
  std::vector<arena_slot> held;
  for (int i = 0; i < 10'000; ++i) {
    held.push_back(block(100 * sizeof(double)));
  }
  EXPECT_LT(open_descriptors() - before, 20);
}

TEST(Arena, GivesAtLeastWhatWasAskedForAlignedAndZero) {
  for (int round = 0; round < 2; ++round) {  // the second round finds what the first dropped
    for (std::size_t bytes = 0; bytes < (std::size_t{3} << 20); bytes = bytes * 5 / 4 + 7) {
      const arena_slot slot = block(bytes);
      EXPECT_GE(slot.bytes(), bytes);
      EXPECT_LE(slot.bytes(), std::max<std::size_t>(2 * bytes, 4096));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slot.data()) % 64, 0U);
      ASSERT_TRUE(is_zero(slot)) << bytes;
      fill(slot);
    }
  }
}

TEST(Arena, GivesNoByteTwice) {
  std::vector<arena_slot> held;
  for (std::size_t bytes = 1; bytes < (std::size_t{2} << 20); bytes *= 3) {
    for (int i = 0; i < 3; ++i) {
      held.push_back(block(bytes));
      ASSERT_TRUE(is_zero(held.back()));
      fill(held.back());
    }
  }
}

TEST(Arena, ReusesSlotsThatNobodyElseKnew) {
  const auto before = open_descriptors();
  for (int i = 0; i < 100'000; ++i) {
    const arena_slot slot = block();
    auto& word = slot.as<std::atomic<int>>();
    EXPECT_EQ(word.exchange(1), 0);
  }
  EXPECT_LE(open_descriptors() - before, 1);
}

TEST(Arena, CostsTheSameHoweverOftenTheLastSlotComesAndGoes) {
  std::vector<arena_slot> held;
  for (std::uint32_t i = 0; i < 2 * arena::most_slots; ++i) {
    held.push_back(block());
  }
  const auto before = open_descriptors();
  for (int i = 0; i < 200'000; ++i) {  // grew by an entry each time, which made this loop take minutes
    held.pop_back();
    held.push_back(block());
  }
  EXPECT_LE(open_descriptors() - before, 1);
}

TEST(Arena, ReturnsWhatIsNoLongerUsedToTheSystem) {
  (void)block(4096);  // so that one arena is there to be kept
  const auto before = open_descriptors();
  {
    std::vector<arena_slot> held;
    for (int i = 0; i < 10'000; ++i) {
      held.push_back(block(4096));
    }
    EXPECT_GE(open_descriptors() - before, 9);
  }
  EXPECT_LE(open_descriptors() - before, 1);
}

TEST(Arena, OfOneLargeBlockGoesWithIt) {
  const auto before = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    const arena_slot huge = block(std::size_t{1} << 30);
    EXPECT_EQ(huge.data()[huge.bytes() - 1], std::byte{0});
    huge.data()[0] = std::byte{1};
    EXPECT_EQ(open_descriptors() - before, 1);
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Arena, ThatCannotBeSoLargeIsRefused) {
  EXPECT_THROW(block(~std::size_t{0}), std::bad_alloc);
  EXPECT_THROW(block(~std::size_t{0} / 4), std::exception);
}

TEST(Arena, ThatIsDamagedIsRefused) {
  const segment small = segment::create(segment_kind::arena, "small", shoal::memory::page_size);
  EXPECT_THROW(arena_slot::attach({small.descriptor(), 0}, slot_kind::event), shoal::error);
}

TEST(Arena, WhoseFileIsTooShortIsRefused) {
  arena_slot original = block();
  const segment& cut = segment::create(segment_kind::arena, "cut", all_arenas().front()->slot_size() + (1 << 20));
  std::memcpy(cut.data() + 64, all_arenas().front()->slot(0) - shoal::memory::page_size + 64, 64);
  EXPECT_THROW(arena_slot::attach({cut.descriptor(), 0}, slot_kind::block), shoal::error);
}

TEST(Arena, NeverReusesASlotThatAChildMayKnow) {
  auto kept_by_child = std::make_unique<arena_slot>(block());
  shared<std::atomic<int>> stage;
  process child([&] {
    stage->store(1);
    eventually([&] { return stage->load() == 2; });
    return is_zero(*kept_by_child) ? 0 : 1;  // still its own, not the parent's new one
  });
  ASSERT_TRUE(eventually([&] { return stage->load() == 1; }));
  kept_by_child.reset();
  std::vector<arena_slot> others;
  for (int i = 0; i < 2'000; ++i) {
    others.push_back(block());
    fill(others.back());
  }
  stage->store(2);
  EXPECT_TRUE(child.join().success());
}

TEST(Arena, NeverReusesASlotWhoseLocationWasAskedFor) {
  auto slot = std::make_unique<arena_slot>(block());
  const arena_slot same = arena_slot::attach(slot->location(), slot_kind::block);
  EXPECT_EQ(same.data(), slot->data());  // one mapping for all
  slot.reset();
  std::vector<arena_slot> others;
  for (int i = 0; i < 2'000; ++i) {
    others.push_back(block());
    fill(others.back());
  }
  EXPECT_TRUE(is_zero(same));
}

TEST(Arena, ParentAndChildAllocateApart) {
  const arena_slot before_the_fork = block();  // so that an arena with room exists
  shared<std::atomic<int>> stage;
  process child([&] {
    std::vector<arena_slot> mine;
    for (int i = 0; i < 500; ++i) {
      mine.push_back(block());
      if (!is_zero(mine.back())) {
        return 1;
      }
      fill(mine.back());
    }
    stage->store(1);
    return eventually([&] { return stage->load() == 2; }) ? 0 : 1;
  });
  ASSERT_TRUE(eventually([&] { return stage->load() == 1; }));
  for (int i = 0; i < 500; ++i) {
    EXPECT_TRUE(is_zero(block()));
  }
  stage->store(2);
  EXPECT_TRUE(child.join().success());
}

TEST(Arena, RefusesWrongSlots) {
  arena_slot slot = block();
  const slot_location place = slot.location();
  EXPECT_THROW(arena_slot::attach(place, slot_kind::event), shoal::error);
  EXPECT_THROW(arena_slot::attach({place.arena, 100'000}, slot_kind::block), shoal::error);
  EXPECT_THROW(arena_slot::attach({987, 0}, slot_kind::block), std::system_error);
}

TEST(Arena, IsMappedAsLongAsAnythingInItIsReferredTo) {
  auto other = process([] { return 0; });  // allocate in an arena that nothing else holds: the child's
  EXPECT_TRUE(other.join().success());
  std::shared_ptr<arena> home = block(std::size_t{5} << 20).shared_home();
  EXPECT_TRUE(home->idle());
  std::memset(home->slot(0), 1, home->slot_size());
  const std::weak_ptr<arena> gone = home;
  home.reset();
  EXPECT_TRUE(gone.expired());
}

TEST(Arena, KnowsWhatLiesInItsSlots) {
  const arena_slot lock = arena_slot::allocate(slot_kind::mutex);
  arena& home = lock.home();
  EXPECT_EQ(home.kind(lock.index()), slot_kind::mutex);
  EXPECT_FALSE(home.idle());
  const std::vector<std::shared_ptr<arena>> all = all_arenas();
  EXPECT_EQ(std::count(all.begin(), all.end(), lock.shared_home()), 1);
  const std::uint32_t index = lock.index();
  { const arena_slot dropped = std::move(const_cast<arena_slot&>(lock)); }
  EXPECT_EQ(home.kind(index), slot_kind::none);
}

TEST(Arena, HasAnAreaForThreadsBehindSmallSlotsOnly) {
  const arena_slot small = block();
  const arena_slot large = block(65);
  EXPECT_EQ(large.home().threads(), nullptr);
  const arena& home = small.home();
  ASSERT_NE(home.threads(), nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(home.threads()) % 64, 0U);
  EXPECT_GE(home.threads(), home.slot(home.slots() - 1) + home.slot_size());
  home.populate_threads(arena::threads_bytes - 4096, 4096);
  EXPECT_EQ(home.threads()[arena::threads_bytes - 1], std::byte{0});
}

TEST(Arena, MayBeUsedByManyThreads) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        std::vector<arena_slot> held;
        for (int i = 0; i < 200; ++i) {
          held.push_back(block(static_cast<std::size_t>(i % 3) * 60 + 1));
          wrong += is_zero(held.back()) ? 0 : 1;
          std::memset(held.back().data(), t + 1, held.back().bytes());
        }
        for (const arena_slot& one : held) {
          wrong += one.data()[one.bytes() - 1] == static_cast<std::byte>(t + 1) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& one : threads) {
    one.join();
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
