#include "shoal/detail/code_location.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "shoal/error.hpp"

namespace shoal::detail {
namespace {

/// An executable or shared library in memory.
struct module {
  std::uintptr_t base = 0;  // what is added to the addresses in the file
  std::string_view name;
  std::span<const ElfW(Phdr)> segments;
};

// FNV-1a: small, and good enough to tell the few modules apart that may ever lie at one address.
class fingerprint {
 public:
  void add(const void* data, std::size_t size) noexcept {
    for (std::size_t i = 0; i < size; ++i) {
      hash_ = (hash_ ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3;
    }
  }
  void add(std::string_view text) noexcept { add(text.data(), text.size()); }
  void add(std::uintptr_t number) noexcept { add(&number, sizeof number); }

  [[nodiscard]] std::uint64_t value() const noexcept { return hash_ | 1; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325;
};

std::string_view build_id(const module& loaded) {
  for (const ElfW(Phdr) & segment : loaded.segments) {
    if (segment.p_type != PT_NOTE) {
      continue;
    }
    const auto* at = reinterpret_cast<const char*>(loaded.base + segment.p_vaddr);  // NOLINT(performance-no-int-to-ptr)
    const char* const end = at + segment.p_memsz;
    const std::size_t alignment = segment.p_align == 8 ? 8 : 4;
    const auto padded = [&](std::size_t size) { return (size + alignment - 1) / alignment * alignment; };
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* const name = at + sizeof note;
      const char* const content = name + padded(note.n_namesz);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
        return {content, note.n_descsz};
      }
      at = content + padded(note.n_descsz);
    }
  }
  return {};
}

std::uint64_t fingerprint_of(const module& loaded) {
  fingerprint print;
  print.add(loaded.base);
  const std::string_view id = build_id(loaded);
  print.add(id.empty() ? loaded.name : id);
  return print.value();
}

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)

// Takes no lock, which matters: a lock of the dynamic linker held at the moment of a fork is locked for ever in the
// worker.
bool find_module(const void* address, module& found) {
  dl_find_object object{};
  if (::_dl_find_object(const_cast<void*>(address), &object) != 0) {
    return false;
  }
  found.base = object.dlfo_link_map->l_addr;
  found.name = object.dlfo_link_map->l_name;
  // Linkers place the file's header at the start of the first segment.
  const auto* const header = static_cast<const ElfW(Ehdr)*>(object.dlfo_map_start);
  if (std::memcmp(header->e_ident, ELFMAG, SELFMAG) == 0) {
    const auto* const table = static_cast<const char*>(object.dlfo_map_start) + header->e_phoff;
    found.segments = {reinterpret_cast<const ElfW(Phdr)*>(table), header->e_phnum};
  }
  return true;
}

#else

bool find_module(const void* address, module& found) {
  struct search {
    std::uintptr_t address;
    module* found;
  };
  search wanted{reinterpret_cast<std::uintptr_t>(address), &found};
  const auto visit = [](dl_phdr_info* info, std::size_t /*size*/, void* context) -> int {
    const search& sought = *static_cast<search*>(context);
    const std::span<const ElfW(Phdr)> segments(info->dlpi_phdr, info->dlpi_phnum);
    for (const ElfW(Phdr) & segment : segments) {
      if (segment.p_type == PT_LOAD && sought.address - (info->dlpi_addr + segment.p_vaddr) < segment.p_memsz) {
        *sought.found = {info->dlpi_addr, info->dlpi_name, segments};
        return 1;
      }
    }
    return 0;
  };
  return ::dl_iterate_phdr(visit, &wanted) != 0;
}

#endif

std::string text_of(const void* address) {
  char text[24];
  std::snprintf(text, sizeof text, "%p", address);
  return text;
}

}  // namespace

code_location locate_code(const void* function) {
  module loaded;
  if (!find_module(function, loaded)) {
    throw error(errc::unknown_function,
                "the function at " + text_of(function) +
                    " lies neither in the program nor in a shared library (null, or generated at run "
                    "time?), so it cannot be named to a worker process.");
  }
  return {function, fingerprint_of(loaded)};
}

const void* find_code(code_location location) {
  module loaded;
  if (!find_module(location.address, loaded) || fingerprint_of(loaded) != location.module) {
    throw error(errc::unknown_function, text_of(location.address));
  }
  return location.address;
}

}  // namespace shoal::detail
