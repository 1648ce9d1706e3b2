#include "os/loaded_module.hpp"

#include <dlfcn.h>
#include <elf.h>

#include <cstring>

namespace shoal::os {

std::string_view build_id_in(std::string_view notes, std::size_t alignment) noexcept {
  const auto padded = [&](std::size_t size) { return (size + alignment - 1) / alignment * alignment; };
  while (sizeof(ElfW(Nhdr)) <= notes.size()) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes.data(), sizeof note);
    const std::size_t content = sizeof note + padded(note.n_namesz);
    const std::size_t end = content + padded(note.n_descsz);
    if (content + note.n_descsz > notes.size()) {
      break;
    }
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && notes.substr(sizeof note, 3) == "GNU") {
      return notes.substr(content, note.n_descsz);
    }
    notes.remove_prefix(end < notes.size() ? end : notes.size());
  }
  return {};
}

std::string_view loaded_module::build_id() const noexcept {
  for (const ElfW(Phdr) & segment : segments) {
    if (segment.p_type != PT_NOTE) {
      continue;
    }
    const auto* const notes =
        reinterpret_cast<const char*>(base + segment.p_vaddr);  // NOLINT(performance-no-int-to-ptr)
    if (const std::string_view id = build_id_in({notes, segment.p_memsz}, segment.p_align == 8 ? 8 : 4); !id.empty()) {
      return id;
    }
  }
  return {};
}

#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)

// Takes no lock, which matters: a lock of the dynamic linker held at the moment of a fork is locked for ever in the
// worker.
bool find_module(const void* address, loaded_module& found) noexcept {
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

bool find_module(const void* address, loaded_module& found) noexcept {
  struct search {
    std::uintptr_t address;
    loaded_module* found;
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

}  // namespace shoal::os
