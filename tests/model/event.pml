/*
 * The descriptor of an event: one who sets it, one who clears it, as OTHER one more of either or who asks for the descriptor
 * meanwhile, and one who looks, in the end too. A kill stands for a stop as well: of a process that goes on later.
 *
 * Checked at every step: while it is polled, an event that is set has a readable descriptor. And once nobody else is at
 * work, whoever looks at an event that is clear finds it not readable afterwards, or has made it so: no event loop spins.
 *
 * Stands for
 *   src/sync/flag.hpp   is_set, clear
 *   src/sync/flag.cpp   set, set_polled, lower, settle, descriptor
 * but for how much set_polled adds ahead, and that no more than 255 can announce to take away.
 *
 * One who sets it and one who lowers it could go on for ever, each undoing what the other has done. They stop after SOME times.
 *
 * Mutants: -DMUTANT=1 to 6, see the places.
 */
#ifndef KILLS
#define KILLS 2
#endif
#define SETTER 0
#define CLEARER 1
#define STARTER 2
#ifndef OTHER
#define OTHER SETTER
#endif
#ifndef LOOKS /* in the beginning, too */
#define LOOKS 1
#endif
#ifndef MUTANT
#define MUTANT 0
#endif
#define PROCESSES 4
#define ON_KILL(v)

#include "kills.pml"

/* The word. */
bool is_set;
byte times;
bool polled = (OTHER != STARTER);
byte takers;
byte announced;

byte count; /* the eventfd, an EFD_SEMAPHORE: readable unless zero */

inline load() { d_step { s_set = is_set; s_times = times; s_polled = polled; s_takers = takers; s_announced = announced } }

#define UNCHANGED                                                                                              \
  (is_set == s_set && times == s_times && polled == s_polled && takers == s_takers && announced == s_announced)

/* What a process does not need any more, so that states which differ in nothing else are one. */
inline forget() {
  d_step {
    s_set = 0; s_times = 0; s_polled = 0; s_takers = 0; s_announced = 0;
    b_times = 0; b_takers = 0; b_announced = 0; added = 0; got = 0
  }
}

/* The step in which the word becomes that of an event that is set. */
inline try_to_set() {
  atomic {
    if
    :: UNCHANGED ->
       times = (is_set -> times : times + 1);
       is_set = true; /* COMMIT */
       got = true
    :: else -> got = false; load()
    fi
  }
}

inline begin_anew() { d_step { b_times = s_times; b_takers = s_takers; b_announced = s_announced; added = 0 } }

#if MUTANT == 2
/* Those who are about to take away are not counted. */
#define NEEDED 1
#else
#define NEEDED (b_takers + s_announced - b_announced + 1)
#endif

inline set() {
  load();
  do
  :: !s_polled -> try_to_set(); if :: got -> break :: else fi
  :: else -> break
  od;
  if
  :: got
  :: else ->
     begin_anew();
     do
     :: !s_set && s_times != b_times -> begin_anew()
     :: !s_set && s_times == b_times && added < NEEDED && MUTANT != 1 ->
        d_step { count = count + NEEDED - added; added = NEEDED }
     :: s_set || (s_times == b_times && (added >= NEEDED || MUTANT == 1)) ->
        try_to_set();
        if
        :: got ->
#if MUTANT == 1
           /* Added after the commit. */
           count++;
#endif
           break
        :: else
        fi
     od
  fi;
  forget()
}

#ifndef SOME
#define SOME 2
#endif
#define MANY 20 /* for one who is alone */

inline lower(most) {
  load();
  do
  :: s_set || count == 0 || announced >= most -> break
  :: !s_set && count > 0 && announced < most ->
#if MUTANT == 3
     /* Nobody is told. */
     got = true;
#else
     atomic {
       if
       :: UNCHANGED ->
          takers++;
#if MUTANT != 4
          /* Mutant 4: the word may be the same again. */
          announced++;
#endif
          got = true
       :: else -> got = false; load()
       fi
     };
#endif
     if
     :: got ->
#if MUTANT == 5
        /* Takes all. */
        count = 0;
#else
        d_step { count = (count > 0 -> count - 1 : 0) };
#endif
#if MUTANT == 3
        load()
#else
        d_step {
          takers--;
          s_set = is_set; s_times = times; s_polled = polled; s_takers = takers; s_announced = announced
        }
#endif
     :: else
     fi
  od;
  forget()
}

inline clear(most) {
  atomic { got = polled; is_set = false };
  if
  :: got -> got = false; lower(most)
  :: else
  fi
}

inline start() {
  load();
  do
  :: s_polled -> break
  :: !s_polled ->
#if MUTANT != 6
     /* Mutant 6: polled before it is readable. */
     if :: s_set -> count++ :: else fi;
#endif
     atomic {
       if
       :: UNCHANGED -> polled = true; got = true
       :: else -> got = false; load()
       fi
     };
     if
     :: got ->
#if MUTANT == 6
        if :: s_set -> count++ :: else fi;
#endif
        lower(SOME);
        break
     :: else
     fi
  od;
  forget()
}

#define LOCALS                                                                 \
  bool s_set, s_polled, got;                                                   \
  byte s_times, s_takers, s_announced, b_times, b_takers, b_announced, added

proctype setter(byte me) {
  LOCALS;
  { set(); ended[me] = true } unless { killed[me] }
}

proctype clearer(byte me) {
  LOCALS;
  { clear(SOME); ended[me] = true } unless { killed[me] }
}

proctype starter(byte me) {
  LOCALS;
  { start(); ended[me] = true } unless { killed[me] }
}

#define OTHERS_ENDED                                                                            \
  ((ended[0] || killed[0]) && (ended[1] || killed[1]) && (ended[2] || killed[2]))

proctype looker(byte me) {
  LOCALS;
  {
#if LOOKS
    if
    :: polled && !is_set -> lower(SOME)
    :: true
    fi;
#endif
    OTHERS_ENDED;
    start();
    if
    :: !is_set -> lower(MANY)
    :: else
    fi;
    assert(is_set == (count > 0));
    set();
    assert(count > 0);
    clear(MANY);
    assert(count == 0);
    ended[me] = true
  } unless { killed[me] }
}

active proctype monitor() {
end:
  atomic { polled && is_set && count == 0 -> assert(false) }
}

init {
  atomic {
    run setter(0);
    run clearer(1);
#if OTHER == SETTER
    run setter(2);
#elif OTHER == CLEARER
    run clearer(2);
#else
    run starter(2);
#endif
    run looker(3)
  }
}
