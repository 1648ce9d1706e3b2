/*
 * Locks, commits and wake-ups: up to two producers and two consumers, one record each.
 *
 * Checked: every committed record is taken exactly once, in order, and is whole; nobody sleeps for ever over a record, or
 * (with CAPACITY) over room: not at all without a kill, and not past the next tick with kills.
 *
 * Stands for
 *   src/queue/layout.hpp         committed_position: get, prepare, commit
 *   src/queue/shared_queue.cpp   push_many, has_room, find_front, advance; recovered
 *   src/sync/event_count.*       prepare_wait, wait, notify, wake
 *   src/sync/wait.hpp            wait_for
 *   src/queue/byte_queue.cpp     repeat, pass_on, pushed_to_room, popped
 *
 * Mutants: -DMUTANT=1 to 7, see the places.
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef CAPACITY
#define CAPACITY 0 /* no bound */
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#define PROCESSES 4
#define EVERYBODY 4
#define ON_KILL(v) sleeps_on[v] = NOTHING; remembers[v] = NOTHING

#define ITEMS 0
#define SPACE 1
#define NOTHING 2 /* awake */
#define TICKED 3  /* awake, as the tick has passed */
byte sleeps_on[PROCESSES] = NOTHING;

/*
 * The words of the two eventcounts. An epoch is only ever compared with an older one, so instead of a number there is, for
 * each process that remembers a word, whether it is still the same.
 */
bool somebody_asleep[2];
byte remembers[PROCESSES] = NOTHING;

#include "kills.pml"

/* The committed positions: word = count * 2 + the slot that is valid. */
byte pushed, popped;
byte pushed_at[2], popped_at[2];
byte pushed_seen; /* head_end */
byte popped_seen; /* tail_end */
byte bytes[5];    /* the records: 0, or who wrote it + 1 */

/* For the checks only. */
byte taken[2];
byte committed[2];

#define COUNT(word) ((word) >> 1)
#define SLOT(word) ((word) & 1)
#define EMPTY (COUNT(pushed) == COUNT(popped))
#define FULL (CAPACITY != 0 && COUNT(pushed) - COUNT(popped) >= CAPACITY)

inline futex_wake(which, most) {
  atomic {
    woke = 0;
    do
    :: woke < most && sleeps_on[0] == which -> sleeps_on[0] = NOTHING; woke++
    :: woke < most && sleeps_on[1] == which -> sleeps_on[1] = NOTHING; woke++
    :: woke < most && sleeps_on[2] == which -> sleeps_on[2] = NOTHING; woke++
    :: woke < most && sleeps_on[3] == which -> sleeps_on[3] = NOTHING; woke++
    :: else -> break
    od
  }
}

#define FORGET(v, which) if :: remembers[v] == which -> remembers[v] = NOTHING :: else fi

inline begin_epoch(which) { FORGET(0, which); FORGET(1, which); FORGET(2, which); FORGET(3, which) }

inline notify(which, most) {
  if
  :: !somebody_asleep[which]
  :: else ->
#if MUTANT == 1
     /* The bit is cleared before the wake. */
     atomic { begin_epoch(which); somebody_asleep[which] = false };
     futex_wake(which, most);
#else
     atomic { begin_epoch(which) };
     futex_wake(which, most);
     if
     :: woke >= most
     :: else ->
        do
        :: atomic { somebody_asleep[which] -> remembers[me] = which };
           /* Compare and swap. */
           if
           :: atomic { remembers[me] == which -> begin_epoch(which); somebody_asleep[which] = false }; break
           :: remembers[me] != which
           fi
        :: !somebody_asleep[which] -> break
        od;
#if MUTANT != 2
        /* Mutant 2: whoever fell asleep in between is forgotten. */
        futex_wake(which, EVERYBODY)
#endif
     fi;
     woke = 0
#endif
  fi
}

/* `unsatisfied` is one step: size() and is_full() are exact at some instant of the call. */
inline wait_for(which, unsatisfied) {
  atomic { somebody_asleep[which] = true; remembers[me] = which };
  if
#if MUTANT != 3
  /* Mutant 3: the condition is not looked at again. */
  :: atomic { !(unsatisfied) -> remembers[me] = NOTHING; woken = true }
#endif
#if MUTANT == 3
  :: atomic { true ->
#else
  :: else -> atomic {
#endif
     if :: remembers[me] == which -> remembers[me] = NOTHING; sleeps_on[me] = which :: else fi };
end_asleep:
     if
     :: sleeps_on[me] == NOTHING -> woken = true
     :: atomic { sleeps_on[me] == TICKED -> sleeps_on[me] = NOTHING; woken = false }
     /* The deadline. */
     :: atomic { is_impatient && sleeps_on[me] == which -> sleeps_on[me] = NOTHING }; break
     fi
  fi
}

/* By whoever has been told that a lock's holder was killed. */
inline recovered() {
  if
  :: CAPACITY != 0 -> notify(SPACE, EVERYBODY)
  :: else
  fi;
  notify(ITEMS, EVERYBODY);
  owner_died = false
}

/* A wake-up that is not made use of: the deadline came before the lock did, or there was no memory. */
inline pass_on(which) {
#if MUTANT != 4
  /* Mutant 4: it is not passed on. */
  notify(which, 1)
#else
  skip
#endif
}

proctype producer(byte me; bool is_impatient) {
  bool owner_died, woken;
  byte woke, at;
  {
    do
    :: is_impatient && woken -> pass_on(SPACE); break
    :: lock(tail);
       if
       :: owner_died -> recovered()
       :: else
       fi;
       if
       :: atomic {
            /* As was seen last, or is seen now. */
            (CAPACITY == 0 || COUNT(pushed) - popped_seen < CAPACITY || !FULL) ->
            if
            :: CAPACITY != 0 && COUNT(pushed) - popped_seen >= CAPACITY -> popped_seen = COUNT(popped)
            :: else
            fi;
            at = pushed_at[SLOT(pushed)];
            bytes[at] = me + 1;
#if MUTANT == 5
            /* One slot for the position: it and the count change in two steps. */
            pushed_at[SLOT(pushed)] = at + 1;
#else
            pushed_at[1 - SLOT(pushed)] = at + 1;
#endif
            at = 0
          };
#if MUTANT == 5
          atomic { committed[me]++; pushed = pushed + 2 };
#else
          atomic { committed[me]++; pushed = (pushed + 2) ^ 1 }; /* COMMIT */
#endif
          unlock(tail);
          notify(ITEMS, 1);
          break
       :: else ->
          unlock(tail);
          wait_for(SPACE, FULL)
       fi
    od;
    ended[me] = true
  } unless { killed[me] }
}

proctype consumer(byte me; bool is_impatient) {
  bool owner_died, woken;
  byte woke, at;
  {
    do
    :: is_impatient && woken -> pass_on(ITEMS); break
    :: lock(head);
       if
       :: owner_died -> recovered()
       :: else
       fi;
       if
       :: atomic {
            /* As was seen last, or is seen now. */
            (COUNT(popped) != pushed_seen || !EMPTY) ->
            if
            :: COUNT(popped) == pushed_seen -> pushed_seen = COUNT(pushed)
            :: else
            fi;
            at = popped_at[SLOT(popped)];
            assert(bytes[at] != 0);
            popped_at[1 - SLOT(popped)] = at + 1
          };
          atomic {
#if MUTANT == 6
            /* The count is made real without naming the other slot. */
            popped = popped + 2;
#else
            popped = (popped + 2) ^ 1; /* COMMIT */
#endif
            taken[bytes[at] - 1]++;
            assert(at + 1 == COUNT(popped) && taken[bytes[at] - 1] == 1 && committed[bytes[at] - 1] == 1);
            at = 0
          };
          unlock(head);
          if
          :: CAPACITY != 0 -> notify(SPACE, 1)
          :: else
          fi;
          break
       :: else ->
          unlock(head);
          wait_for(ITEMS, EMPTY)
       fi
    od;
    ended[me] = true
  } unless { killed[me] }
}

#define OVER_ITEMS(v) (!EMPTY && sleeps_on[v] == ITEMS)
#define OVER_SPACE(v) (!FULL && sleeps_on[v] == SPACE)
#define STRANDED (OVER_ITEMS(2) || OVER_ITEMS(3) || OVER_SPACE(0) || OVER_SPACE(1))
#define TICK(v) if :: sleeps_on[v] == ITEMS || sleeps_on[v] == SPACE -> sleeps_on[v] = TICKED :: else fi

/* Each `timeout` is a moment at which nothing moves any more. */
active proctype monitor() {
  timeout -> assert(kills > 0 || !STRANDED);
#if MUTANT != 7
  /* Mutant 7: no tick. */
  atomic { TICK(0); TICK(1); TICK(2); TICK(3) };
#endif
  timeout -> assert(!STRANDED);
  /* What was committed is there or was taken: with the counts this says that it was taken once. */
  assert(taken[0] + taken[1] == COUNT(popped) && committed[0] + committed[1] == COUNT(pushed))
}

init {
  atomic {
    run producer(0, CAPACITY != 0);
    run consumer(2, true);
    if :: PRODUCERS == 2 -> run producer(1, false) :: else -> ended[1] = true fi;
    if :: CONSUMERS == 2 -> run consumer(3, false) :: else -> ended[3] = true fi
  }
}
