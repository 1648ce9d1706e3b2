#include "process/standard_streams.hpp"

#include <stdio_ext.h>
#include <ext/stdio_sync_filebuf.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <streambuf>

namespace shoal {
namespace {

/// The streams of one character type. They usually have no buffer of their own but write to stdout and stderr: what
/// was found to do so once is remembered, since in a fork each page that is touched for a look costs a copy of it.
template <class Char>
class streams_on_stdio {
 public:
  void flush(const std::array<std::basic_ostream<Char>*, 3>& streams) {
    for (std::size_t i = 0; i < streams.size(); ++i) {
      std::basic_streambuf<Char>* const buffer = streams[i]->rdbuf();
      if (buffer == unbuffered_[i].load(std::memory_order_relaxed)) {
        continue;
      }
      if (dynamic_cast<__gnu_cxx::stdio_sync_filebuf<Char>*>(buffer) != nullptr) {
        unbuffered_[i].store(buffer, std::memory_order_relaxed);
      } else {
        streams[i]->flush();
      }
    }
  }

 private:
  std::array<std::atomic<std::basic_streambuf<Char>*>, 3> unbuffered_{};
};

streams_on_stdio<char> narrow;
streams_on_stdio<wchar_t> wide;

}  // namespace

void flush_standard_streams() noexcept {
  try {
    narrow.flush({&std::cout, &std::clog, &std::cerr});
    wide.flush({&std::wcout, &std::wclog, &std::wcerr});
  } catch (...) {
    // A stream told to throw on errors. There is nobody to tell, and the process shall go on or end all the same.
  }
  for (std::FILE* const file : {stdout, stderr}) {
    if (::__fpending(file) != 0) {
      std::fflush(file);
    }
  }
}

}  // namespace shoal
