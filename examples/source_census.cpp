// Counts files, lines and tokens of a tree of Python source files in several processes: the C++ sibling of
// source_census.py.
//
//     source_census [FOLDER]          (default: the current one)
//
// There are two passes. In the first, forked processes take file names from one queue and put what they counted into
// another. In the second, a pool counts the words of each file.

#include <algorithm>
#include <cctype>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <shoal/pool.hpp>
#include <shoal/process.hpp>
#include <shoal/queue.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

namespace fs = std::filesystem;
using words = std::map<std::string, std::size_t>;

// Trivially copyable, so that a queue sends it as its bytes.
struct tally {
  std::size_t files = 0;
  std::size_t lines = 0;
  std::size_t tokens = 0;
};

std::vector<std::string> find_sources(const fs::path& folder) {
  std::vector<std::string> found;
  for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator(); ++entry) {
    const std::string name = entry->path().filename();
    if (name == "site-packages" || name == "dist-packages" || name == "__pycache__") {
      entry.disable_recursion_pending();
    } else if (name.ends_with(".py") && entry->is_regular_file()) {
      found.push_back(entry->path());
    }
  }
  return found;
}

std::string read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || (c & 0x80) != 0; }

// Calls use(token) for each word, and for each other character that is not space: coarser than Python's own tokens.
template <class Use>
void for_each_token(std::string_view text, Use use) {
  while (!text.empty()) {
    const auto word = static_cast<std::size_t>(std::ranges::find_if_not(text, in_word) - text.begin());
    if (std::isspace(static_cast<unsigned char>(text[0])) == 0) {
      use(text.substr(0, std::max<std::size_t>(word, 1)));
    }
    text.remove_prefix(std::max<std::size_t>(word, 1));
  }
}

tally count(const std::string& file) {
  const std::string text = read(file);
  tally found{.files = 1, .lines = static_cast<std::size_t>(std::ranges::count(text, '\n')), .tokens = 0};
  found.lines += !text.empty() && text.back() != '\n' ? 1 : 0;
  for_each_token(text, [&](std::string_view) { ++found.tokens; });
  return found;
}

// The first pass. The queues are made before the processes are forked, so that both sides have them.
tally count_all(const std::vector<std::string>& sources, std::size_t workers) {
  shoal::queue<std::string> names;
  shoal::queue<tally> tallies;
  std::vector<shoal::process> processes;
  for (std::size_t i = 0; i < workers; ++i) {
    processes.emplace_back([&] {
      for (const std::string& name : names) {  // until the queue is closed and drained
        tallies.push(count(name));
      }
    });
  }
  std::ranges::for_each(sources, [&](const std::string& name) { names.push(name); });
  names.close();
  std::ranges::for_each(processes, [](shoal::process& process) { process.join(); });
  tallies.close();
  tally total;
  for (const tally& found : tallies) {
    total = {total.files + found.files, total.lines + found.lines, total.tokens + found.tokens};
  }
  if (total.files != sources.size()) {
    throw std::runtime_error("a process was killed before it had counted its file");
  }
  return total;
}

// The second pass, in the workers of a pool. What it returns travels back as MessagePack.
words count_words(const std::string& file) {
  words counts;
  for_each_token(read(file), [&](std::string_view token) {
    if (in_word(token[0])) {
      ++counts[std::string(token)];
    }
  });
  return counts;
}

void run(const fs::path& folder) {
  const std::size_t workers = std::max(1U, std::thread::hardware_concurrency());
  const std::vector<std::string> sources = find_sources(folder);
  const tally total = count_all(sources, workers);
  std::cout << total.files << " files\n" << total.lines << " lines\n" << total.tokens << " tokens\n";

  shoal::pool pool(workers);
  words all;
  for (const words& counts : pool.map(count_words, sources)) {
    std::ranges::for_each(counts, [&](const auto& entry) { all[entry.first] += entry.second; });
  }
  const auto most = std::ranges::max_element(all, {}, &words::value_type::second);
  if (most != all.end()) {
    std::cout << "most frequent word: " << most->first << ", " << most->second << " times\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? argv[1] : ".");
  } catch (const std::exception& failure) {
    std::cerr << "source_census: " << failure.what() << '\n';
    return 1;
  }
}
