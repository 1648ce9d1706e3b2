/*
 * Chunks: who has which, while records are pushed, written in place, borrowed and given back. A chunk holds one record.
 *
 * Checked: whenever the producers' lock is given back, every chunk is in exactly one place: the chain, a stack, or the table
 * of the reserved ones. So after a kill none is lost. Nobody writes to a chunk that a living process reads in place, or
 * another one writes to; records are whole and taken once.
 *
 * Stands for
 *   src/queue/chunk_heap.cpp     push, pop, put_away, is_in_use, collect, look_at_held, take, grow, reserve,
 *                                end_reservation, end_reservations_of_the_dead, recover
 *   src/queue/shared_queue.cpp   push_many, append, link, reserve, push_reserved, cancel, borrow, lend, advance,
 *                                give_back (of a loan), tail_guard, head_guard
 *
 * Mutants: -DMUTANT=1 to 7, see the places.
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef CHUNKS
#define CHUNKS 3
#endif
#ifndef RECORDS
#define RECORDS 3 /* of the producer */
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef WRITER
#define WRITER 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define PROCESSES 4
#define ON_KILL(v) reads[v] = NOTHING
#define CLOSES_FILES_LATER

#define NOTHING 0
byte reads[PROCESSES]; /* for the checks only: the chunk that a living process reads in place, + 1 */

#include "kills.pml"

byte next[CHUNKS];  /* in the chain: a chunk; in a stack: a chunk + 1 */
byte owner[CHUNKS]; /* holder + 1, or NOTHING */
byte data[CHUNKS];  /* who wrote it + 1 */
byte count = 1;     /* of the chunks that there are */

/* Stacks: the topmost chunk + 1. */
byte free;
byte later; /* held[0] */
byte now;   /* held[1] */
byte reserved;

/* The chain: from the oldest over the head's to the tail's. */
byte oldest;
byte tail_at;
byte head_at;
byte head_chunk; /* head_at as the producers know it */
byte pushed, popped;

/* ---- For the checks only. */
#define CHECK_PLACES                                                                   \
  d_step {                                                                             \
    found = 0; at = oldest;                                                            \
    do                                                                                 \
    :: assert((found & (1 << at)) == 0); found = found | (1 << at);                    \
       if :: at == tail_at -> break :: else -> at = next[at] fi                        \
    od;                                                                                \
    CHECK_STACK(free)                                                                  \
    CHECK_STACK(later)                                                                 \
    CHECK_STACK(now)                                                                   \
    if                                                                                 \
    :: reserved != NOTHING ->                                                          \
       assert((found & (1 << (reserved - 1))) == 0);                                   \
       found = found | (1 << (reserved - 1))                                           \
    :: else                                                                            \
    fi;                                                                                \
    assert(found == (1 << count) - 1);                                                 \
    found = 0; at = 0                                                                  \
  }

#define CHECK_STACK(stack)                                                             \
    at = stack;                                                                        \
    do                                                                                 \
    :: at == NOTHING -> break                                                          \
    :: else ->                                                                         \
       assert((found & (1 << (at - 1))) == 0);                                         \
       found = found | (1 << (at - 1)); at = next[at - 1]                              \
    od;

#define IS_READ(c) (reads[0] == c + 1 || reads[1] == c + 1 || reads[2] == c + 1 || reads[3] == c + 1)

/* ---- The heap, under the tail lock. */

/*
 * What the holder of the lock reads that only he may change is one step with the store that follows: a kill in between is a
 * kill before.
 */

/* Makes a chunk that is nobody's free, or sets it aside while somebody still reads it. */
inline put_away(c) {
  atomic {
    in_use = false;
    if
#if MUTANT != 2
    /* Mutant 2: nobody asks whether it is still read. */
    :: owner[c] != NOTHING && !closed_files[owner[c] - 1] -> in_use = true
#endif
    :: else -> owner[c] = NOTHING
    fi;
#if MUTANT == 1
    /* It is in the stack before its link is written. */
    link = (in_use -> later : free);
    if :: in_use -> later = c + 1 :: else -> free = c + 1 fi
#else
    next[c] = (in_use -> later : free)
#endif
  };
  atomic { /* COMMIT */
#if MUTANT == 1
    next[c] = link;
    link = 0;
#else
    if :: in_use -> later = c + 1 :: else -> free = c + 1 fi;
#endif
    in_use = false;
    left = 0
  }
}

inline collect() {
  at = head_chunk;
  do
  :: atomic { oldest != at -> left = oldest; oldest = next[left] }; /* COMMIT */
     put_away(left)
  :: atomic { oldest == at -> at = 0 }; break
  od
}

inline look_at_held() {
  if
  :: atomic { now == NOTHING && later != NOTHING -> now = later }; /* COMMIT */
     later = NOTHING
  :: else
  fi;
  do
  :: atomic { now != NOTHING -> left = now - 1; now = next[left] }; /* COMMIT */
     put_away(left)
  :: else -> break
  od
}

/* The chunk + 1; NOTHING if there is no memory. */
inline take() {
  collect();
  if
  :: free == NOTHING && (later != NOTHING || now != NOTHING) -> look_at_held()
  :: else
  fi;
  if
  :: atomic { free != NOTHING -> got = free; free = next[got - 1] } /* COMMIT */
  :: atomic { free == NOTHING && count < CHUNKS -> count++; got = count } /* COMMIT */
  :: atomic {
       free == NOTHING && count == CHUNKS && reserved != NOTHING &&
         (owner[reserved - 1] == NOTHING || closed_files[owner[reserved - 1] - 1]) ->
       left = reserved - 1;
       owner[left] = NOTHING
     };
     reserved = NOTHING; /* COMMIT */
     put_away(left);
     if
     :: atomic { free != NOTHING -> got = free; free = next[got - 1] } /* COMMIT */
     :: else
     fi
  :: else
  fi
}

#define MARK_STACK(stack)                                                                          \
    at = stack;                                                                                    \
    do                                                                                             \
    :: at != NOTHING && (found & (1 << (at - 1))) == 0 -> found = found | (1 << (at - 1)); at = next[at - 1] \
    :: else -> break                                                                               \
    od;

inline recover() {
  d_step {
    found = 0; at = oldest;
    do
    :: found = found | (1 << at);
       if :: at == tail_at -> break :: else -> at = next[at] fi
    od;
    MARK_STACK(free)
    MARK_STACK(later)
    MARK_STACK(now)
    at = 0
  };
  if
#if MUTANT != 3
  /* Mutant 3: it was killed in the middle of look_at_held. */
  :: atomic { later == now && now != NOTHING -> later = NOTHING }
#endif
  :: else
  fi;
  atomic {
    if
#if MUTANT != 4
    /* Mutant 4: its record was pushed. */
    :: reserved != NOTHING && (found & (1 << (reserved - 1))) != 0 -> reserved = NOTHING
#endif
    :: else ->
       if
       :: reserved != NOTHING && owner[reserved - 1] != NOTHING -> found = found | (1 << (reserved - 1))
       :: else -> reserved = NOTHING
       fi
    fi
  };
#if MUTANT != 5
  /* Mutant 5: what is nobody's stays so. */
  do
  :: atomic {
       found != (1 << count) - 1 ->
       do
       :: (found & (1 << left)) != 0 -> left++
       :: else -> found = found | (1 << left); break
       od
     };
     put_away(left)
  :: else -> break
  od;
#endif
  found = 0
}

inline lock_tail() {
  lock(tail);
  if
  :: owner_died -> owner_died = false; recover()
  :: else
  fi
}

inline unlock_tail() {
  atomic { CHECK_PLACES; unlock(tail) }
}

inline write(c) { atomic { assert(!IS_READ(c)); data[c] = me + 1 } }

/* ---- Producers. */

proctype producer(byte me; byte records) {
  bool owner_died, in_use;
  byte found, at, left, link, got;
  {
    do
    :: atomic { records > 0 -> records-- };
       lock_tail();
       take();
       if
       :: got != NOTHING ->
          atomic { write(got - 1); next[tail_at] = got - 1 };
          atomic { tail_at = got - 1; pushed++; got = NOTHING } /* COMMIT */
       :: else
       fi;
       unlock_tail()
    :: else -> break
    od;
    ended[me] = true
  } unless { killed[me] }
}

/* Writes a record in place. */
proctype writer(byte me) {
  bool owner_died, in_use;
  byte found, at, left, link, got, mine;
  {
    lock_tail();
    take();
    if
    :: got != NOTHING ->
#if MUTANT != 6
       /* Mutant 6: it is in the table before it has an owner. */
       owner[got - 1] = me + 1;
#endif
       reserved = got; /* COMMIT */
#if MUTANT == 6
       unlock_tail();
       owner[got - 1] = me + 1;
#else
       unlock_tail();
#endif
       atomic { mine = got - 1; got = NOTHING; write(mine) };
       if
       :: lock_tail();
          atomic { assert(data[mine] == me + 1); next[tail_at] = mine };
          owner[mine] = NOTHING;
          atomic { tail_at = mine; pushed++ }; /* COMMIT */
          reserved = NOTHING;
          unlock_tail()
       :: lock_tail(); /* cancel */
          owner[mine] = NOTHING;
          reserved = NOTHING;
          put_away(mine);
          unlock_tail()
       :: owner[mine] = NOTHING /* cancel, while the lock does not come free */
       fi
    :: else -> unlock_tail()
    fi;
    atomic { mine = 0; ended[me] = true }
  } unless { killed[me] }
}

/* ---- Consumers. */

proctype consumer(byte me) {
  bool owner_died;
  byte at, seen;
  {
    lock(head);
    if
    :: atomic { owner_died -> owner_died = false; head_chunk = head_at }
    :: else
    fi;
    if
    :: popped != pushed ->
#if MUTANT != 7
       atomic { at = next[head_at]; owner[at] = me + 1 };
#endif
       atomic { /* COMMIT */
         at = next[head_at];
         head_at = at;
         popped++;
         reads[me] = at + 1;
         seen = data[at];
         assert(seen != 0)
       };
       head_chunk = at;
       unlock(head);
#if MUTANT == 7
       /* It becomes the owner without the lock, when others may have moved on. */
       owner[at] = me + 1;
#endif
       atomic {
         assert(data[at] == seen);
         reads[me] = NOTHING;
         owner[at] = NOTHING; /* COMMIT */
         seen = 0;
         at = 0
       }
    :: else -> unlock(head)
    fi;
    ended[me] = true
  } unless { killed[me] }
}

/* Whoever comes last finds all chunks in their places, also if somebody was killed with the lock. */
proctype last(byte me) {
  bool owner_died, in_use;
  byte found, at, left, link, got;
  (ended[0] || killed[0]) && (ended[1] || killed[1]) && (ended[2] || killed[2]) && (ended[3] || killed[3]);
  lock_tail();
  unlock_tail()
}

init {
  atomic {
    run producer(0, RECORDS);
    run consumer(1);
#if WRITER
    run writer(2);
#else
    ended[2] = true;
#endif
#if CONSUMERS == 2
    run consumer(3);
#else
    ended[3] = true;
#endif
    run last(4)
  }
}
