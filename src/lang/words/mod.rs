//! Checked definitions in plain English, for `check --explain` and `check --plan`.
//!
//! Owns every English sentence about a definition. Says what the checked tree says and nothing else, the same for the same tree.
//! A customer is "they"; events, traits and other names stand as they are declared, so that a reader finds them again.

mod clauses;
mod nouns;
mod time;

#[cfg(test)]
mod tests;

use super::definition::{Backfill, Definition, DefinitionKind, Expr, Points, Score, ScoreRule, Segment, Stages, Workspace, Zone};
use crate::model::Decimal;

/// A definition said back: `Cart abandoned (cart_abandoned): A customer enters when ..`.
pub fn definition(workspace: &Workspace, definition: &Definition) -> String {
    let mut words = Words::new(workspace);
    let text = match &definition.kind {
        DefinitionKind::Segment(segment) => words.segment(segment),
        DefinitionKind::Score(score) => words.score(score),
        DefinitionKind::Points(points) => words.points(points),
        DefinitionKind::Stages(stages) => words.stages(stages),
    };
    format!("{}: {text}", title(definition))
}

/// `Cart abandoned (cart_abandoned)`.
pub fn title(definition: &Definition) -> String {
    match &definition.meta.name {
        Some(name) => format!("{name} ({})", definition.name),
        None => definition.name.clone(),
    }
}

/// A condition as a clause: `they have had no order_completed event in the last 7 days`.
pub fn condition(workspace: &Workspace, expr: &Expr) -> String {
    Words::new(workspace).top(expr)
}

/// What follows "A customer enters", with delays and consent.
pub fn enters(workspace: &Workspace, segment: &Segment) -> String {
    Words::new(workspace).enters(segment)
}

/// What follows "A customer leaves".
pub fn leaves(workspace: &Workspace, segment: &Segment) -> String {
    Words::new(workspace).leaves(segment)
}

struct Words<'a> {
    workspace: &'a Workspace,
    /// Something that was said goes by the calendar or the local clock.
    calendar: bool,
}

impl<'a> Words<'a> {
    fn new(workspace: &'a Workspace) -> Words<'a> {
        Words { workspace, calendar: false }
    }

    fn segment(&mut self, segment: &Segment) -> String {
        let mut text = match &segment.when {
            Expr::Everyone if segment.exit_when.is_none() && segment.require_consent.is_empty() && segment.enter_after.is_none() => {
                "Every customer enters with their first record.".to_string()
            }
            _ => format!("A customer enters {}.", self.enters(segment)),
        };
        let mut say = |sentence: String| {
            text.push(' ');
            text.push_str(&sentence);
        };
        if !(segment.when == Expr::Everyone
            && segment.exit_when.is_none()
            && segment.expire.is_none()
            && segment.require_consent.is_empty())
        {
            say(format!("A customer leaves {}.", self.leaves(segment)));
        }
        if segment.exit_when.is_some() {
            say("Nobody enters while the condition for leaving holds.".into());
        }
        if let Some(stay) = segment.stay {
            let unless = if segment.require_consent.is_empty() { "" } else { ", unless consent ends" };
            say(format!("A membership lasts at least {}{unless}.", time::duration(stay)));
        }
        if let Some(after) = segment.expire {
            say(format!("After those {} they enter again only once the condition for entering has been false.", time::duration(after)));
        }
        if let Some(cooldown) = segment.cooldown {
            say(format!("No second entry within {} of an exit.", time::duration(cooldown)));
        }
        if let Some(settle) = segment.settle {
            say(format!("What time alone changes is decided {} later, if it still holds.", time::duration(settle)));
        }
        if !segment.emit.is_empty() {
            let fields: Vec<String> = segment.emit.iter().map(|f| format!("{} ({})", f.name, self.emitted(&f.term))).collect();
            say(format!("Each change carries {}.", list(&fields, "and")));
        }
        match (&segment.timezone, self.calendar) {
            (Zone::Named(zone), _) => say(format!("Days and clock times are those of {zone}.")),
            (Zone::Workspace, _) => say(format!("Days and clock times are those of {}.", self.workspace.catalogue.workspace.timezone)),
            (Zone::Customer, true) if self.workspace.catalogue.trait_named("timezone").is_some() => {
                say("Days and clock times are those of the customer's own time zone.".into());
            }
            (Zone::Customer, true) => say(format!("Days and clock times are those of {}.", self.workspace.catalogue.workspace.timezone)),
            (Zone::Customer, false) => {}
        }
        match segment.backfill {
            Backfill::State => {}
            Backfill::Replay => say("When it is new or redefined, its history is read again from the log.".into()),
            Backfill::None => say("When it is new or redefined, it starts from an empty history.".into()),
        }
        text
    }

    fn enters(&mut self, segment: &Segment) -> String {
        let when = match segment.enter_after {
            Some(after) => {
                let which = if segment.exit_when.is_some() { ", with no reason to leave," } else { "" };
                format!("once it has been true{which} for {} without a break that {}", time::duration(after), self.filter(&segment.when))
            }
            None => format!("when {}", self.top(&segment.when)),
        };
        if segment.require_consent.is_empty() {
            return when;
        }
        let needs: Vec<String> = segment.require_consent.iter().map(|p| self.purpose(*p)).collect();
        format!("{when}, provided that they consent to {}", list(&needs, "and"))
    }

    fn leaves(&mut self, segment: &Segment) -> String {
        let mut ways = Vec::new();
        match (&segment.exit_when, segment.exit_after) {
            (None, None) => ways.push("when that no longer holds".to_string()),
            (None, Some(after)) => ways.push(format!("once that has not held for {} without a break", time::duration(after))),
            (Some(exit), None) => ways.push(format!("when {}", self.top(exit))),
            (Some(exit), Some(after)) => {
                ways.push(format!("once it has been true for {} without a break that {}", time::duration(after), self.filter(exit)));
            }
        }
        if let Some(after) = segment.expire {
            ways.push(format!("{} after entering", time::duration(after)));
        }
        if !segment.require_consent.is_empty() {
            let needs: Vec<String> = segment.require_consent.iter().map(|p| self.purpose(*p)).collect();
            ways.push(format!("at once when consent to {} ends", list(&needs, "or")));
        }
        // `a, and b` beside another way out would be read as one with it.
        if matches!(&segment.exit_when, Some(Expr::And(_))) && ways.len() > 1 && segment.exit_after.is_none() {
            return ways.join("; or ");
        }
        ways.join(", or ")
    }

    fn score(&mut self, score: &Score) -> String {
        let adds: Vec<String> = score
            .rules
            .iter()
            .filter_map(|ScoreRule { selector, add }| {
                let add = (*add)?;
                let (word, points) = if add.0 < 0 { ("takes", Decimal(-add.0)) } else { ("gives", add) };
                Some(format!("{} {word} {points}", nouns::each(&self.noun(selector))))
            })
            .collect();
        let mut text = format!("A score that halves every {}.", time::duration(score.half_life));
        if !adds.is_empty() {
            text.push_str(&format!(" {}.", capital(&list(&adds, "and"))));
        }
        let resets: Vec<String> = score.rules.iter().filter(|r| r.add.is_none()).map(|r| self.noun(&r.selector).a()).collect();
        if !resets.is_empty() {
            text.push_str(&format!(" {} sets it back to 0.", capital(&list(&resets, "or"))));
        }
        if let Some(cap) = score.cap {
            text.push_str(&format!(" It never exceeds {cap}."));
        }
        text
    }

    fn points(&mut self, points: &Points) -> String {
        let rules: Vec<String> = points
            .rules
            .iter()
            .map(|(n, when)| {
                let (sign, n) = if n.0 < 0 { ("minus ", Decimal(-n.0)) } else { ("", *n) };
                format!("{sign}{n} when {}", self.top(when))
            })
            .collect();
        format!("The sum of what holds: {}.", rules.join("; "))
    }

    fn stages(&mut self, stages: &Stages) -> String {
        let rules: Vec<String> = stages.stages.iter().map(|(name, when)| format!("{name} when {}", self.top(when))).collect();
        format!("A customer is in the first of these stages that holds: {}; otherwise {}.", rules.join("; "), stages.otherwise)
    }

    fn purpose(&self, purpose: crate::ids::PurposeIndex) -> String {
        self.workspace.catalogue.purposes[purpose.at()].name.clone()
    }

    fn named(&self, definition: crate::ids::DefinitionIndex) -> &'a str {
        &self.workspace.definitions[definition.at()].name
    }
}

/// `a, b or c`.
fn list(items: &[String], joint: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {joint} {last}", most.join(", ")),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
