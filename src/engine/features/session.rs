//! The customer's session: activity without a gap (LANGUAGE.md 9.2, R19, R33), and what is counted in the current one.
//!
//! A session lasts from its first activity until `gap` after its last: `[start, last + gap)`. An event counts in the session that it lies in
//! when it is applied; one that lies in none counts in none, also if the start moves back over it later.
//!
//! *Example:* gap 30 m, activities at 0 and 20 m: the session is `[0, 50 m)`. One at 50 m begins another. One at 49 m that comes later still is
//! within the gap before that one's start and moves it back to 49 m.

use super::codec::{Reader, put_i64, put_instant, put_u64};
use crate::engine::program::{Spec, State};
use crate::time::{Millis, Timestamp};

/// **Shape:** `number` 0 until the first activity, then counting sessions; `start <= last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    number: u64,
    start: Timestamp,
    last: Timestamp,
}

/// What an activity did to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It lies inside, or is too old to matter.
    Nothing,
    /// The session will end later than it would have.
    CarriedOn,
    /// Another began, or the last one runs again, or its start moved.
    Turned,
}

impl Session {
    /// Applies an activity at clock `t`.
    pub fn apply(&mut self, ts: Timestamp, t: Timestamp, gap: Millis) -> Activity {
        if self.number == 0 || ts >= self.last + gap {
            *self = Session { number: self.number + 1, start: ts, last: ts };
            return Activity::Turned;
        }
        let ended = !self.runs(t, gap);
        if ts < self.start {
            // The start of a session that has ended stands (R33).
            if ended || self.start - ts >= gap {
                return Activity::Nothing;
            }
            self.start = ts;
            return Activity::Turned;
        }
        if ts <= self.last {
            return Activity::Nothing;
        }
        self.last = ts;
        if ended && self.runs(t, gap) { Activity::Turned } else { Activity::CarriedOn }
    }

    /// Whether it is going on at `t`.
    pub fn runs(&self, t: Timestamp, gap: Millis) -> bool {
        self.number > 0 && self.start <= t && t < self.last + gap
    }

    /// The first instant at which it will be over with no further activity.
    pub fn ends(&self, gap: Millis) -> Timestamp {
        self.last + gap
    }

    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The session in which an event at `ts` counts.
    pub fn of(&self, ts: Timestamp, gap: Millis) -> Option<u64> {
        self.runs(ts, gap).then_some(self.number)
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn encode(&self, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        if self.number > 0 {
            put_instant(out, base, self.last);
            put_i64(out, (self.last - self.start).0);
        }
    }

    pub fn decode(base: Timestamp, reader: &mut Reader<'_>) -> Session {
        match reader.u64() {
            0 => Session::default(),
            number => {
                let last = reader.instant(base);
                Session { number, start: last - Millis(reader.i64()), last }
            }
        }
    }
}

/// What is counted in one session.
pub struct InSession {
    /// The session that `state` is of.
    number: u64,
    state: Box<State>,
    /// What any other session finds.
    empty: Box<State>,
}

impl InSession {
    pub fn new(inner: &Spec) -> InSession {
        InSession { number: 0, state: Box::new(State::new(inner)), empty: Box::new(State::new(inner)) }
    }

    pub fn clear(&mut self) {
        self.number = 0;
        self.state.clear();
    }

    /// What is counted in a session, `None` being none.
    pub fn of(&self, session: Option<u64>) -> &State {
        if session == Some(self.number) { &self.state } else { &self.empty }
    }

    /// The state of a session, to be changed; of another than before it begins empty.
    pub fn enter(&mut self, session: u64) -> &mut State {
        if self.number != session {
            self.number = session;
            self.state.clear();
        }
        &mut self.state
    }

    /// Lets go of what belongs to a session before this one; returns whether there was anything.
    pub fn tidy(&mut self, session: u64) -> bool {
        let old = self.number > 0 && self.number != session;
        if old {
            self.clear();
        }
        old
    }

    /// What is kept, of whichever session; to be kept otherwise from here on. `to` is the new kind.
    pub fn recut(&mut self, to: &Spec, change: impl FnOnce(&mut State)) {
        change(&mut self.state);
        *self.empty = State::new(to);
    }

    pub fn encode(&self, inner: &Spec, base: Timestamp, out: &mut Vec<u8>) {
        put_u64(out, self.number);
        if self.number > 0 {
            self.state.encode(inner, base, out);
        }
    }

    pub fn decode(&mut self, inner: &Spec, base: Timestamp, reader: &mut Reader<'_>) {
        self.clear();
        self.number = reader.u64();
        if self.number > 0 {
            self.state.decode_from(inner, base, reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Millis = Millis(30);

    fn at(session: &Session) -> (u64, i64, i64) {
        (session.number, session.start.0, session.last.0)
    }

    #[test]
    fn activities_carry_a_session_on_begin_another_or_move_its_start() {
        let mut s = Session::default();
        assert!(!s.runs(Timestamp(0), GAP) && s.of(Timestamp(0), GAP).is_none());
        assert_eq!(s.apply(Timestamp(100), Timestamp(100), GAP), Activity::Turned);
        assert_eq!(s.apply(Timestamp(110), Timestamp(110), GAP), Activity::CarriedOn);
        assert_eq!(s.apply(Timestamp(105), Timestamp(111), GAP), Activity::Nothing);
        // Less than a gap before the start, and a whole gap before it.
        assert_eq!(s.apply(Timestamp(71), Timestamp(112), GAP), Activity::Turned);
        assert_eq!(s.apply(Timestamp(41), Timestamp(113), GAP), Activity::Nothing);
        assert_eq!((at(&s), s.ends(GAP)), ((1, 71, 110), Timestamp(140)));
        // Ended: the start stands, a late one within it makes it run again, unless it is over by then too.
        assert!(s.runs(Timestamp(139), GAP) && !s.runs(Timestamp(140), GAP));
        assert_eq!(s.apply(Timestamp(60), Timestamp(150), GAP), Activity::Nothing);
        assert_eq!(s.apply(Timestamp(125), Timestamp(150), GAP), Activity::Turned);
        assert_eq!(s.apply(Timestamp(130), Timestamp(170), GAP), Activity::CarriedOn);
        assert_eq!(s.apply(Timestamp(160), Timestamp(170), GAP), Activity::Turned);
        assert_eq!(at(&s), (2, 160, 160));
        assert_eq!((s.of(Timestamp(159), GAP), s.of(Timestamp(189), GAP), s.of(Timestamp(190), GAP)), (None, Some(2), None));
        let mut bytes = Vec::new();
        s.encode(Timestamp(7), &mut bytes);
        Session::default().encode(Timestamp(7), &mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!((Session::decode(Timestamp(7), &mut reader), Session::decode(Timestamp(7), &mut reader)), (s, Session::default()));
        assert!(reader.done() && !reader.failed());
    }
}
