/*
 * Barriers: two or three threads that meet, and one more that resets, or takes the record of a dead one; each can be
 * killed at any step. (A thread is a process here.)
 *
 * Checked: all who take part in a phase are told the same of it, however late they look: that it ended by the arrival
 * of as many as are needed, or that it did not; its completion runs at most once; a thread that dies at the barrier
 * breaks it; nobody sleeps for ever over a phase that has ended, is broken or has lost a thread: without a kill not at
 * all, with one not past the next tick.
 *
 * Stands for
 *   src/sync/barrier_core.cpp    all of it
 *   src/sync/thread_record.cpp   settle_in_record, bury, is_alive
 * The eventcount they sleep on is what `wakeup` is about. Here, looking and falling asleep are one step, and waking is
 * another.
 *
 * IMPATIENT=1: thread 0 has a deadline, which breaks the barrier. SIGNAL=1: it may leave by an exception. DROP=1: it
 * comes for the last time. RESETS: how often thread 3 resets. LATE=1: thread 3 takes the record of a dead one.
 *
 * Mutants: -DMUTANT=1 to 10, see the places.
 */
#ifndef KILLS
#define KILLS 1
#endif
#ifndef THREADS
#define THREADS 3
#endif
#ifndef PARTIES
#define PARTIES THREADS
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef IMPATIENT
#define IMPATIENT 0
#endif
#ifndef SIGNAL
#define SIGNAL 0
#endif
#ifndef DROP
#define DROP 0
#endif
#ifndef RESETS
#define RESETS 0
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
#define NONE 7

/* The word: phase (3 bits), arrived (3), parties (3), history (3), broken. */
#define PHASE(word) ((word) & 7)
#define ARRIVED(word) (((word) >> 3) & 7)
#define NEEDED(word) (((word) >> 6) & 7)
#define HISTORY(word) (((word) >> 9) & 7)
#define BROKEN 4096
#define IS_BROKEN(word) ((word) >= BROKEN)
#define ONE_ARRIVED 8
#define ONE_NEEDED 64
#define NEXT_PHASE(word, failed) \
  (((PHASE(word) + 1) & 7) | (NEEDED(word) << 6) | ((((HISTORY(word) << 1) | failed) & 7) << 9))
short word = PARTIES * ONE_NEEDED;
byte failed_phases; /* mutant 2 */

/* The records: who lives there (its number + 1), and a place at the barrier: `state` is odd while it is used. */
byte alive[3], state[3], ticket[3];
byte record_of[PROCESSES] = NONE;
#define IS_IDLE(state) (!((state) & 1))

bool sleeps[PROCESSES], ticked[PROCESSES];
byte waits_in[PROCESSES] = NONE; /* the phase whose end a sleeper waits for */
byte early;

/* For the checks only. */
#define UNDECIDED 0
#define DONE 1
#define FAILED 2
byte outcome[8];
bool is_completing[8];
bool has_lost[8];               /* a thread that had arrived in that phase has died in it */
byte counted_in[PROCESSES] = NONE;

#define ON_KILL(v)                                                                            \
  sleeps[v] = false; ticked[v] = false; waits_in[v] = NONE;                                   \
  if :: counted_in[v] != NONE -> has_lost[counted_in[v]] = true; counted_in[v] = NONE :: else fi; \
  if :: record_of[v] != NONE -> alive[record_of[v]] = 0; record_of[v] = NONE :: else fi

#include "kills.pml"

inline wake_all() { atomic { sleeps[0] = false; sleeps[1] = false; sleeps[2] = false } }

inline decide(how) {
  assert(outcome[PHASE(word)] == UNDECIDED);
  outcome[PHASE(word)] = how
}

inline break_in(which) {
  do
#if MUTANT == 4
  /* Mutant 4: whatever the phase is now. */
  :: IS_BROKEN(word) -> break
  :: atomic { !IS_BROKEN(word) -> assert(PHASE(word) == which); decide(FAILED); word = word | BROKEN };
#else
  :: PHASE(word) != which || IS_BROKEN(word) -> break
  :: atomic { PHASE(word) == which && !IS_BROKEN(word) -> decide(FAILED); word = word | BROKEN }; /* COMMIT */
#endif
#if MUTANT != 9
     /* Mutant 9: nobody is woken. */
     wake_all();
#endif
     break
  od
}

inline bury(record) {
  atomic { dead_phase = ticket[record] };
  if
  :: state[record] != dead
  :: else ->
     break_in(dead_phase);
     atomic { if :: state[record] == dead -> state[record] = dead - 1 :: else fi }
  fi;
  dead_phase = 0
}

inline break_if_somebody_died() {
  i = 0;
  do
  :: i < 3 ->
     dead = state[i];
     if
     :: !IS_IDLE(dead) && alive[i] == 0 -> bury(i)
     :: else
     fi;
     atomic { i++; dead = 0 }
  :: else -> i = 0; break
  od
}

/* Until `changed`, or the deadline, or an exception. */
inline wait_for_change(changed, which) {
  do
  :: atomic { (changed) -> waits_in[me] = NONE }; break
  :: atomic { !(changed) -> sleeps[me] = true; waits_in[me] = which };
end_asleep:
     if
     :: !sleeps[me]
#if MUTANT != 5
     /* Mutant 5: nobody looks for the dead. */
     :: atomic { sleeps[me] && ticked[me] -> sleeps[me] = false; ticked[me] = false }; break_if_somebody_died()
#else
     :: atomic { sleeps[me] && ticked[me] -> sleeps[me] = false; ticked[me] = false }
#endif
     :: atomic { sleeps[me] && early < EARLY -> early++; sleeps[me] = false }; break_if_somebody_died()
     :: atomic { sleeps[me] && IMPATIENT && me == 0 -> sleeps[me] = false; waits_in[me] = NONE; gives_up = true }; break
     :: atomic { sleeps[me] && SIGNAL && me == 0 -> sleeps[me] = false; waits_in[me] = NONE; is_interrupted = true };
        break
     fi;
     ticked[me] = false
  od
}

inline told(how) {
  assert(outcome[phase] == how);
  counted_in[me] = NONE
}

/* Of the own phase: what it has come to, or that it goes on. */
inline look_at_result() {
  atomic {
    if
    :: PHASE(word) == phase -> told(FAILED)
#if MUTANT == 2
    :: PHASE(word) != phase && ((failed_phases >> phase) & 1) -> told(FAILED)
    :: PHASE(word) != phase && !((failed_phases >> phase) & 1) -> told(DONE)
#else
    :: PHASE(word) != phase && ((HISTORY(word) >> (PHASE(word) - phase - 1)) & 1) -> told(FAILED)
    :: PHASE(word) != phase && !((HISTORY(word) >> (PHASE(word) - phase - 1)) & 1) -> told(DONE)
#endif
    fi
  }
}

inline enter() {
  ticket[me] = PHASE(seen);
  state[me] = state[me] + 1
}

inline leave() { if :: !IS_IDLE(state[me]) -> state[me] = state[me] + 1 :: else fi }

inline meet(drops) {
  do
  :: seen = word;
     if
     :: IS_BROKEN(seen) -> break
#if MUTANT != 10
     /* Mutant 10: whoever comes while the last one completes the phase is counted, too. */
     :: !IS_BROKEN(seen) && ARRIVED(seen) >= NEEDED(seen) ->
        wait_for_change(PHASE(word) != PHASE(seen) || IS_BROKEN(word) || ARRIVED(word) < NEEDED(word), PHASE(seen));
        if
        :: gives_up || is_interrupted -> break
        :: else
        fi
#endif
     :: else ->
#if MUTANT != 1
        enter();
#endif
        if
        :: atomic {
             word == seen ->
#if MUTANT == 6
             word = word + ONE_ARRIVED;
#else
             word = word + (drops -> 0 - ONE_NEEDED : ONE_ARRIVED); /* COMMIT */
#endif
             phase = PHASE(seen);
             is_last = (ARRIVED(word) == NEEDED(word));
             is_counted = !drops;
             if :: !drops || is_last -> counted_in[me] = phase :: else fi
           };
#if MUTANT == 1
           /* Mutant 1: entered once it is counted. */
           enter();
#endif
#if MUTANT == 6
           /* Mutant 6: two steps. */
           if
           :: drops ->
              atomic {
                word = word - ONE_NEEDED;
                if :: PHASE(word) == phase -> word = word - ONE_ARRIVED :: else fi;
                if :: !is_last -> counted_in[me] = NONE :: else fi
              }
           :: else
           fi;
#endif
           break
        :: atomic { word != seen -> skip }; leave()
        fi
     fi
  od;
  seen = 0;
  if
  :: is_last ->
     /* The completion. */
     atomic { assert(!is_completing[phase]); is_completing[phase] = true };
     break_if_somebody_died();
     if
#if MUTANT == 3
     /* Mutant 3: broken or not. */
     :: atomic {
          PHASE(word) == phase ->
          decide(DONE);
#else
     :: atomic {
          PHASE(word) == phase && !IS_BROKEN(word) ->
          decide(DONE);
          assert(ARRIVED(word) == NEEDED(word));
#endif
          counted_in[me] = NONE;
          word = NEXT_PHASE(word, 0) /* COMMIT */
        };
        wake_all()
#if MUTANT != 3
     :: atomic { PHASE(word) == phase && IS_BROKEN(word) -> told(FAILED) }
#endif
     :: atomic { PHASE(word) != phase -> told(FAILED) }
     fi;
     leave()
  :: !is_last && is_counted ->
     if
     :: !is_interrupted -> wait_for_change(PHASE(word) != phase || IS_BROKEN(word), phase)
     :: else
     fi;
     if
     :: is_interrupted ->
        /* It takes its arrival back, unless all have come. */
        do
#if MUTANT == 7
        /* Mutant 7: even then. */
        :: atomic { PHASE(word) == phase && ARRIVED(word) > 0 ->
#else
        :: atomic { PHASE(word) == phase && ARRIVED(word) > 0 && ARRIVED(word) < NEEDED(word) ->
#endif
             word = word - ONE_ARRIVED; counted_in[me] = NONE }; break
        :: else -> counted_in[me] = NONE; break
        od;
#if MUTANT == 7
        wake_all();
#endif
        leave()
     :: !is_interrupted && gives_up -> break_in(phase); look_at_result(); leave()
     :: else -> look_at_result(); leave()
     fi
  :: else -> leave()
  fi;
  atomic { phase = 0; is_last = false; is_counted = false; gives_up = false; is_interrupted = false }
}

#define LOCALS                                                                        \
  short seen;                                                                         \
  bool is_last, is_counted, gives_up, is_interrupted;                                 \
  byte phase, i, dead, dead_phase

proctype party(byte me; byte rounds; bool drops) {
  bool owner_died;
  LOCALS;
  {
    do
    :: rounds > 0 -> meet(drops); rounds--
    :: else -> break
    od;
    ended[me] = true
  } unless { killed[me] }
}

proctype resetter(byte me; byte times) {
  short seen;
  {
    do
    :: times > 0 ->
       if
       :: ARRIVED(word) == 0 && !IS_BROKEN(word)
       :: else ->
#if MUTANT == 2
          /* Mutant 2: how a phase ended is written beside the word, before it has ended. */
          atomic { seen = word; failed_phases = failed_phases | (1 << PHASE(word)) };
          if
          :: atomic { word == seen && (ARRIVED(word) != 0 || IS_BROKEN(word)) ->
#else
          if
          :: atomic { ARRIVED(word) != 0 || IS_BROKEN(word) ->
#endif
               if :: !IS_BROKEN(word) -> decide(FAILED) :: else fi;
               word = NEXT_PHASE(word, 1) /* COMMIT */
             };
             wake_all()
          :: else
          fi
       fi;
       times--
    :: else -> break
    od;
    ended[me] = true
  } unless { killed[me] }
}

/* Takes the record of a dead one. */
proctype late(byte me) {
  byte mine, dead, dead_phase;
  {
    mine = 0;
end_waits:
    if
    :: atomic { alive[0] == 0 -> mine = 0; alive[0] = me + 1; record_of[me] = 0 }
    :: atomic { alive[1] == 0 -> mine = 1; alive[1] = me + 1; record_of[me] = 1 }
    fi;
    dead = state[mine];
    if
    :: IS_IDLE(dead)
#if MUTANT == 8
    /* Mutant 8: where the former thread waited is forgotten. */
    :: else -> state[mine] = dead + 1
#else
    :: else -> bury(mine)
#endif
    fi;
    ended[me] = true
  } unless { killed[me] }
}

#define OVER(v) (sleeps[v] && (PHASE(word) != waits_in[v] || IS_BROKEN(word) || has_lost[waits_in[v]] || \
                               ARRIVED(word) >= NEEDED(word)))
#define STRANDED (OVER(0) || OVER(1) || OVER(2))
#define TICK(v) if :: sleeps[v] -> ticked[v] = true :: else fi

/* Each `timeout` is a moment at which nothing moves any more. */
active proctype monitor() {
  timeout -> assert(kills > 0 || !STRANDED);
  atomic { TICK(0); TICK(1); TICK(2) };
  timeout -> assert(!STRANDED)
}

init {
  atomic {
    alive[0] = 1; alive[1] = 2; alive[2] = 3;
    record_of[0] = 0; record_of[1] = 1; record_of[2] = 2;
    run party(0, (DROP -> 1 : ROUNDS), DROP);
    run party(1, ROUNDS, false);
    if :: THREADS == 3 -> run party(2, ROUNDS, false) :: else -> ended[2] = true fi;
#if LATE
    run late(3);
#elif RESETS
    run resetter(3, RESETS);
#else
    ended[3] = true;
#endif
    skip
  }
}
