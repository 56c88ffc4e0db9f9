//! Windows of events and of instants, and periods.

use super::super::diagnostic::Code;
use super::super::lexer::Kind;
use super::super::tree::{Day, DayKind, Range, Unit, Window, WindowKind};
use super::{Parsed, Parser};

const WINDOW_HELP: &str = "for example `in last 7d`, `ever`, `at least 30d ago`, `between 30d and 90d ago`";

impl Parser<'_> {
    /// A window of events.
    pub(super) fn window(&mut self) -> Parsed<Window> {
        let span = self.span();
        let kind = match self.word(0) {
            "ever" => {
                self.bump();
                WindowKind::Ever
            }
            "in" if matches!(self.word(1), "last" | "this") => self.in_window(true)?,
            "at" if self.word(1) == "least" => self.older()?,
            "between" => {
                self.bump();
                self.between_window()?
            }
            "since" => {
                self.bump();
                self.since()?
            }
            "in" if self.word(1) == "next" => {
                return self.expected("a time window", Some("events lie in the past: `in last 7d`"));
            }
            _ => return self.expected("a time window", Some(WINDOW_HELP)),
        };
        Ok(Window { kind, span: span.to(self.last_span()) })
    }

    /// A window, or periods: `on at least 4 of last 7 days`.
    pub(super) fn range(&mut self) -> Parsed<Range> {
        let periods = self.is_word("on") || self.is_word("in") && self.word(1) == "at";
        if !periods {
            return Ok(Range::Window(self.window()?));
        }
        let span = self.span();
        self.bump();
        self.expect_words(&["at", "least"])?;
        let n = self.integer("a whole number")?;
        self.expect_words(&["of", "last"])?;
        let m = self.integer("a whole number")?;
        let unit = self.plural_unit()?;
        Ok(Range::Periods { n, m, unit, span: span.to(self.last_span()) })
    }

    /// From `in` on: `in last D`, `in last N full UNIT`, `in this UNIT`; of an instant also `next`.
    pub(super) fn in_window(&mut self, session: bool) -> Parsed<WindowKind> {
        self.bump();
        let word = self.word(0);
        self.bump();
        if word == "this" {
            let unit = match self.word(0) {
                "session" if session => Unit::Session,
                "day" => Unit::Day,
                "week" => Unit::Week,
                "month" => Unit::Month,
                "year" => Unit::Year,
                _ if session => return self.expected("`session`, `day`, `week`, `month` or `year` after `in this`", None),
                _ => return self.expected("`day`, `week`, `month` or `year` after `in this`", None),
            };
            self.bump();
            return Ok(WindowKind::This(unit));
        }
        let next = word == "next";
        if matches!(self.kind(), Kind::Int(_)) && self.word(1) == "full" {
            let n = self.integer("a whole number")?;
            self.bump();
            let unit = self.plural_unit()?;
            return Ok(if next { WindowKind::NextFull(n, unit) } else { WindowKind::Full(n, unit) });
        }
        if matches!(self.kind(), Kind::Int(_))
            && matches!(self.word(1), "days" | "weeks" | "months" | "day" | "week" | "month" | "hours" | "minutes")
        {
            let (number, unit) = (self.span(), self.token(1).span);
            let (n, word) = (self.text_of(self.token(0)), self.word(1));
            let stop =
                self.expected("a duration", Some("a length of time is one word, `7d`; whole calendar periods are `in last 2 full weeks`"));
            if !word.starts_with("month") {
                self.report.fix(number.to(unit), format!("{n}{}", &word[..1]));
            }
            if !word.starts_with(['h']) && word != "minutes" {
                let plural = format!("{n} full {}s", word.trim_end_matches('s'));
                self.report.fix(number.to(unit), plural);
            }
            return stop;
        }
        let duration = self.duration()?;
        Ok(if next { WindowKind::Next(duration) } else { WindowKind::Last(duration) })
    }

    /// `at least D ago`.
    pub(super) fn older(&mut self) -> Parsed<WindowKind> {
        self.expect_words(&["at", "least"])?;
        let duration = self.duration()?;
        self.expect_word("ago")?;
        Ok(WindowKind::Older(duration))
    }

    /// After `between`: `D and D ago`, or `day and day`.
    fn between_window(&mut self) -> Parsed<WindowKind> {
        if self.day_stands_here() {
            let from = self.day()?;
            self.expect_word("and")?;
            return Ok(WindowKind::Dates(from, self.day()?));
        }
        let from = self.duration()?;
        self.expect_word("and")?;
        let to = self.duration()?;
        if !self.take_word("ago") {
            return self.expected("`ago` after `between .. and ..`", Some("for example `between 30d and 90d ago`"));
        }
        Ok(WindowKind::Between(from, to))
    }

    /// After `since`: a day, or `last x`.
    pub(super) fn since(&mut self) -> Parsed<WindowKind> {
        if self.take_word("last") {
            return Ok(WindowKind::SinceLast(Box::new(self.nested(Self::selector)?)));
        }
        Ok(WindowKind::SinceDay(self.day()?))
    }

    pub(super) fn day_stands_here(&self) -> bool {
        matches!(self.kind(), Kind::Date(_) | Kind::Instant(_))
    }

    pub(super) fn day(&mut self) -> Parsed<Day> {
        let kind = match self.kind() {
            Kind::Date(days) => DayKind::Date(*days),
            Kind::Instant(instant) => DayKind::Instant(*instant),
            _ => return self.expected("a date or an instant", Some("for example `2026-11-23` or `2026-11-23T08:00:00+01:00`")),
        };
        self.bump();
        Ok(Day { kind })
    }

    fn plural_unit(&mut self) -> Parsed<Unit> {
        let unit = match self.word(0) {
            "days" => Unit::Day,
            "weeks" => Unit::Week,
            "months" => Unit::Month,
            "day" | "week" | "month" => {
                let (message, span) = (format!("expected `{0}s`, found `{0}`", self.word(0)), self.span());
                let plural = format!("{}s", self.word(0));
                let stop = self.error(Code::E01, span, message, Some("units of periods stand in the plural, also after 1"));
                self.report.fix(span, plural);
                return stop;
            }
            _ => return self.expected("`days`, `weeks` or `months`", None),
        };
        self.bump();
        Ok(unit)
    }
}
