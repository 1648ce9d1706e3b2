#pragma once

#include <link.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace shoal::os {

/// An executable or shared library in the memory of this process.
struct loaded_module {
  std::uintptr_t base = 0;  // what is added to the addresses in the file
  std::string_view name;    // its path; empty: the executable. Valid until it is unloaded
  std::span<const ElfW(Phdr)> segments;

  /// What the linker noted to tell this build of it from all others; empty if it was not asked to.
  [[nodiscard]] std::string_view build_id() const noexcept;
};

/// The module that an address lies in. @return false if there is none.
[[nodiscard]] bool find_module(const void* address, loaded_module& found) noexcept;

/// The build id in the notes of an ELF file that lie at `notes`, each part padded to `alignment`.
[[nodiscard]] std::string_view build_id_in(std::string_view notes, std::size_t alignment) noexcept;

}  // namespace shoal::os
