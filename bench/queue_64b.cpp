// shoal::queue of 64-byte records between processes.
//
//     queue_64b one_way CAPACITY PRODUCERS CONSUMERS COUNT     0: no bound
//     queue_64b round_trip COUNT                               each pushes what the other pops, in turn
//     queue_64b asleep COUNT                                   the same, each time long after the other has gone to
//     sleep queue_64b made_with                                      prints the compiler

#include <memory>

#include "records_64b.hpp"
#include "shoal/queue.hpp"

int main(int argc, char** argv) {
  return bench::run_64b(argc, argv,
                        [](std::size_t capacity) { return std::make_unique<shoal::queue<bench::item>>(capacity); });
}
