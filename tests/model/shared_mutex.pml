/*
 * A lock that many share or one has alone: up to two writers and two readers; each can be killed at any step. (A
 * thread is a process here.)
 *
 * Checked: of the living, a writer is alone; who comes after a writer that was killed inside is told, until somebody
 * has made good what that one left; nobody sleeps for ever over a lock that it could have: without a kill not at all,
 * with one not past the next tick.
 *
 * Stands for
 *   src/sync/shared_lock.cpp     all of it
 *   src/sync/owner_lock.cpp      take, lock_contended, wait_until_free, put, give_back, look
 *   src/sync/thread_record.cpp   settle_in_record, is_alive
 * How one sleeps on a word and on the life of its owner is what `owner_lock` is about. Here, looking and falling
 * asleep are one step, and a death wakes all who sleep on that life.
 *
 * LATE=1: instead of the second reader, one comes that takes the first one's record if that died. IMPATIENT=1: writer
 * 1 and reader 2 have deadlines.
 *
 * Mutants: -DMUTANT=1 to 9, see the places.
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef READERS
#define READERS 2
#endif
#ifndef IMPATIENT
#define IMPATIENT 0
#endif
#ifndef LATE
#define LATE 0
#endif
#ifndef EARLY
#define EARLY 0
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define PROCESSES 4

/* The writers' word: thread + 1, flags. */
#define CONTENDED 1
#define INCONSISTENT 2
#define UNRECOVERABLE 4
#define OWNER(word) ((word) >> 3)
#define ID(v) (((v) + 1) << 3)
byte word;
#define IS_DEAD(word) (OWNER(word) != 0 && killed[OWNER(word) - 1])
#define IS_HELD(word) (OWNER(word) != 0 && !killed[OWNER(word) - 1])

/* The readers' records. */
#define HELD 1
#define AWAITED 2
byte hold[2];
bool alive[2];
byte record_of[PROCESSES];

/* Who sleeps on what: 0, the writers' word or a reader's hold; and on whose life: record or thread + 1. */
#define WORD 1
#define HOLD(record) (2 + (record))
byte sleeps_on[PROCESSES], life[PROCESSES];
bool ticked[PROCESSES];
byte early;

/* For the checks only. */
byte readers, writers; /* the living that have the lock */
bool reads[PROCESSES], writes[PROCESSES];
bool is_torn;          /* a writer was killed inside */

#define WAKE_ON_DEATH(u, v)                                                   \
  if                                                                          \
  :: sleeps_on[u] == WORD && life[u] == v + 1 -> sleeps_on[u] = 0; life[u] = 0 \
  :: sleeps_on[u] > WORD && v >= 2 && life[u] == record_of[v] + 1 -> sleeps_on[u] = 0; life[u] = 0 \
  :: else                                                                     \
  fi
#define ON_KILL(v)                                                            \
  sleeps_on[v] = 0; life[v] = 0; ticked[v] = false;                           \
  if :: reads[v] -> readers--; reads[v] = false :: else fi;                   \
  if :: writes[v] -> writers--; writes[v] = false; is_torn = true :: else fi; \
  if :: v >= 2 && record_of[v] < 2 -> alive[record_of[v]] = false :: else fi; \
  WAKE_ON_DEATH(0, v); WAKE_ON_DEATH(1, v); WAKE_ON_DEATH(2, v); WAKE_ON_DEATH(3, v)

#include "kills.pml"

#define WAKE(u, what) if :: sleeps_on[u] == what -> sleeps_on[u] = 0; life[u] = 0 :: else fi
inline wake_all(what) { atomic { WAKE(0, what); WAKE(1, what); WAKE(2, what); WAKE(3, what) } }
inline wake_one(what) {
  atomic {
    if
    :: sleeps_on[0] == what -> sleeps_on[0] = 0
    :: sleeps_on[1] == what -> sleeps_on[1] = 0
    :: sleeps_on[2] == what -> sleeps_on[2] = 0
    :: sleeps_on[3] == what -> sleeps_on[3] = 0
    :: else
    fi
  }
}

inline sleep(what, unchanged, whose) {
  if
  :: atomic { unchanged -> sleeps_on[me] = what; life[me] = whose + 1 };
end_asleep:
     if
     :: sleeps_on[me] == 0
     :: atomic { sleeps_on[me] != 0 && ticked[me] -> sleeps_on[me] = 0; life[me] = 0 }
     :: atomic { sleeps_on[me] != 0 && early < EARLY -> early++; sleeps_on[me] = 0; life[me] = 0 }
     /* The deadline. */
     :: atomic { sleeps_on[me] != 0 && is_impatient -> sleeps_on[me] = 0; life[me] = 0; is_late = true }
     fi;
     ticked[me] = false
  :: atomic { !(unchanged) }
  fi
}

/* Sleeps while a living writer is there. */
inline wait_for_writer() {
  if
  :: atomic { word == seen -> word = seen | CONTENDED; seen = seen | CONTENDED };
     sleep(WORD, (word == seen && IS_HELD(seen)), (OWNER(seen) - 1))
  :: atomic { word != seen }
  fi
}

inline put(next) {
  atomic { seen = word; word = next }; /* COMMIT */
  if
  :: seen & CONTENDED ->
#if MUTANT == 3
     /* Mutant 3: one is woken, who may be a reader and never has the word. */
     wake_one(WORD)
#else
     wake_all(WORD)
#endif
  :: else
  fi;
  seen = 0
}

/* One that has the lock shared, or is about to find that it has not. */
inline living_reader() {
  atomic {
    found = 2;
#if MUTANT == 6
    /* Mutant 6: nobody asks whether it lives. */
    if :: hold[0] != 0 -> found = 0 :: else fi
#else
    if :: hold[0] != 0 && alive[0] -> found = 0 :: else fi
#endif
  };
  atomic {
    if
#if MUTANT == 6
    :: found == 2 && hold[1] != 0 -> found = 1
#else
    :: found == 2 && hold[1] != 0 && alive[1] -> found = 1
#endif
    :: else
    fi
  }
}

inline wait_for_readers() {
  do
  :: living_reader();
     if
     :: found == 2 -> break
     :: else ->
        if
        :: is_late -> break
        :: else ->
#if MUTANT != 5
           /* Mutant 5: the reader is not told that somebody waits. */
           atomic { if :: hold[found] == HELD -> hold[found] = HELD | AWAITED :: else fi };
#if MUTANT == 6
           sleep(HOLD(found), (hold[found] == (HELD | AWAITED)), found)
#else
           sleep(HOLD(found), (hold[found] == (HELD | AWAITED) && alive[found]), found)
#endif
#else
           sleep(HOLD(found), (hold[found] != 0 && alive[found]), found)
#endif
#if MUTANT == 7
           /* Mutant 7: it does not look again. */
           ;
           found = 2;
           break
#endif
        fi
     fi
  od
}

proctype writer(byte me; bool is_impatient) {
  byte seen, flags, found;
  bool taken, told, is_late, useless;
  {
#if MUTANT == 2
    /* Mutant 2: looks for readers first. */
    wait_for_readers();
#endif
    do
    :: taken || useless || is_late -> break
    :: else ->
       seen = word;
       if
       :: seen & UNRECOVERABLE -> useless = true
       :: !(seen & UNRECOVERABLE) && !IS_HELD(seen) ->
          if
          :: atomic {
               word == seen ->
               told = (OWNER(seen) != 0 || (seen & INCONSISTENT) != 0);
               word = ID(me) | (seen & INCONSISTENT) | flags; /* COMMIT */
               if :: OWNER(seen) != 0 -> word = word | INCONSISTENT | CONTENDED :: else fi;
               taken = true
             }
          :: atomic { word != seen }
          fi
       :: else -> flags = CONTENDED; wait_for_writer()
       fi;
       seen = 0
    od;
    flags = 0;
    if
    :: taken ->
#if MUTANT == 2
       found = 2;
#else
       wait_for_readers();
#endif
       if
       :: found == 2 ->
          atomic {
            assert(readers == 0 && writers == 0 && (told || !is_torn));
            writers++;
            writes[me] = true
          };
          if
          :: told ->
             if
             :: atomic { word = word & (255 - INCONSISTENT); told = false; is_torn = false } /* consistent() */
             :: true
             fi
          :: else
          fi;
          atomic { writers--; writes[me] = false };
          put((told -> UNRECOVERABLE : 0))
       :: else ->
          /* As it was found. */
#if MUTANT == 8
          /* Mutant 8: as if it was free. */
          put(0)
#else
          put((told -> INCONSISTENT : 0))
#endif
       fi
    :: else
    fi;
    ended[me] = true
  } unless { killed[me] }
}

inline unlock_shared() {
  atomic { found = hold[mine]; hold[mine] = 0 }; /* COMMIT */
  if
#if MUTANT == 4
  /* Mutant 4: only who really had it wakes the writer. */
  :: (found & AWAITED) && taken -> wake_all(HOLD(mine))
#else
  :: found & AWAITED -> wake_all(HOLD(mine))
#endif
  :: else
  fi;
  found = 0
}

inline share() {
  do
  :: taken || useless || is_late -> break
  :: else ->
#if MUTANT == 1
     /* Mutant 1: looks for the writer first. */
     seen = word;
     hold[mine] = HELD;
#else
     hold[mine] = HELD; /* COMMIT, if no writer is there */
     seen = word;
#endif
     if
     :: seen & UNRECOVERABLE -> useless = true; unlock_shared()
     :: !(seen & UNRECOVERABLE) && !IS_HELD(seen) ->
        atomic {
          assert(writers == 0 && (!is_torn || OWNER(seen) != 0 || (seen & INCONSISTENT)));
          taken = true;
          readers++;
          reads[me] = true
        }
     :: else ->
        unlock_shared();
        do
        :: seen = word;
           if
           :: !IS_HELD(seen) || is_late -> break
           :: else -> wait_for_writer()
           fi
        od
     fi;
     seen = 0
  od;
  if
  :: taken ->
     atomic { readers--; reads[me] = false };
     unlock_shared()
  :: else
  fi
}

proctype reader(byte me; bool is_impatient) {
  byte seen, found, mine;
  bool taken, is_late, useless;
  {
    mine = record_of[me];
    share();
    ended[me] = true
  } unless { killed[me] }
}

/* Comes when the reader has died, and takes its record. */
proctype late(byte me) {
  byte found, mine;
  bool taken;
  {
    mine = 0;
end_waits:
    atomic { killed[2] -> alive[0] = true; record_of[me] = 0 };
#if MUTANT != 9
    /* Mutant 9: what the former thread shared is left. */
    unlock_shared();
#endif
    ended[me] = true
  } unless { killed[me] }
}

#define OVER(v)                                                                                  \
  ((sleeps_on[v] == WORD && !IS_HELD(word)) ||                                                   \
   (sleeps_on[v] >= HOLD(0) && (hold[sleeps_on[v] - HOLD(0)] == 0 || !alive[sleeps_on[v] - HOLD(0)])))
#define STRANDED (OVER(0) || OVER(1) || OVER(2) || OVER(3))
#define ANYBODY_ASLEEP (sleeps_on[0] != 0 || sleeps_on[1] != 0 || sleeps_on[2] != 0 || sleeps_on[3] != 0)
#define TICK(v) if :: sleeps_on[v] != 0 -> ticked[v] = true :: else fi

/* Each `timeout` is a moment at which nothing moves any more. */
active proctype monitor() {
  timeout -> assert(kills > 0 || !STRANDED);
  atomic { TICK(0); TICK(1); TICK(2); TICK(3) };
  timeout -> assert(!ANYBODY_ASLEEP)
}

init {
  atomic {
    record_of[2] = 0; record_of[3] = (LATE -> 2 : 1);
    alive[0] = true; alive[1] = true;
    run writer(0, false);
    if :: WRITERS == 2 -> run writer(1, IMPATIENT) :: else -> ended[1] = true fi;
    run reader(2, IMPATIENT);
#if LATE
    run late(3);
#else
    if :: READERS == 2 -> run reader(3, false) :: else -> ended[3] = true fi;
#endif
    skip
  }
}
