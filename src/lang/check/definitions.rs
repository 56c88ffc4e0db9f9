//! One definition: its clauses, each checked, and the rules among them.

use super::super::definition::{Backfill, DefinitionKind, EmitField, Meta, Points, Score, ScoreRule, Segment, Stages, Zone};
use super::super::diagnostic::{Code, Report};
use super::super::source::Span;
use super::super::supported::Form;
use super::super::tree::{self, Field, ItemKind, MetaKind, Number, RuleKind, TermKind, Timezone};
use super::conditions::is_whole_cart;
use super::lower::{Checked, Lower, Stop};
use super::{Head, World, latch, warnings};
use crate::ids::DefinitionIndex;
use crate::model::Decimal;
use crate::model::money::parse_scaled;
use crate::time::Millis;

/// What a definition refers to, with the places.
type References = Vec<(DefinitionIndex, Span)>;

/// Checks one definition. What it refers to counts also where it is faulty, so that cycles are found.
pub(super) fn check(world: &World<'_>, head: &Head<'_>, report: &mut Report) -> (Option<(DefinitionKind, Meta)>, References) {
    if head.item.broken {
        return (None, Vec::new());
    }
    let lets: &[tree::Let] = match &head.item.kind {
        ItemKind::Segment(segment) => &segment.lets,
        _ => &[],
    };
    let mut lower = Lower::new(world, report, lets);
    let checked = match &head.item.kind {
        ItemKind::Segment(segment) => lower.segment(segment),
        ItemKind::Score(score) => lower.score(score),
        ItemKind::Points(points) => lower.points(points),
        ItemKind::Stages(stages) => lower.stages(stages),
        _ => Err(Stop),
    };
    (checked.ok(), lower.references)
}

/// A length of time with the place of its clause.
type Clause = Option<(Millis, Span)>;

impl<'t> Lower<'t, '_> {
    fn meta(&mut self, metas: &[tree::Meta]) -> Meta {
        let mut meta = Meta::default();
        for item in metas {
            let (twice, word) = match &item.kind {
                MetaKind::Name(text) => (meta.name.replace(text.clone()).is_some(), "name"),
                MetaKind::Description(text) => (meta.description.replace(text.clone()).is_some(), "description"),
                MetaKind::Owner(text) => (meta.owner.replace(text.clone()).is_some(), "owner"),
                MetaKind::Tags(tags) => {
                    let twice = !meta.tags.is_empty();
                    meta.tags.extend(tags.iter().map(|t| t.text.clone()));
                    (twice, "tags")
                }
            };
            if twice {
                self.report.add(Code::E12, item.span, format!("`{word}` stands twice"));
            }
        }
        meta
    }

    fn segment(&mut self, segment: &'t tree::Segment) -> Checked<(DefinitionKind, Meta)> {
        let meta = self.meta(&segment.meta);
        for (i, item) in segment.lets.iter().enumerate() {
            if let Some(first) = segment.lets[..i].iter().find(|l| l.name.text == item.name.text) {
                super::twice(self.world, self.report, "let", &item.name, first.name.span);
            }
            if self.world.catalogue.event(&item.name.text).is_some() {
                self.report.add(Code::E12, item.name.span, format!("`{}` is the name of an event already", item.name.text));
            }
        }
        let (mut when, mut exit_when) = (None, None);
        let (mut enter_after, mut exit_after, mut stay): (Clause, Clause, Clause) = (None, None, None);
        let (mut cooldown, mut expire, mut settle): (Clause, Clause, Clause) = (None, None, None);
        let (mut timezone, mut backfill, mut emit) = (None, None, None);
        let mut require_consent = Vec::new();
        let mut failed = false;
        for rule in &segment.rules {
            let span = rule.span;
            let result = match &rule.kind {
                RuleKind::When(expr) => self.rule_condition(expr).map(|e| once(&mut when, (e, span))),
                RuleKind::ExitWhen(expr) => self.rule_condition(expr).map(|e| once(&mut exit_when, (e, span))),
                RuleKind::EnterAfter(dur) => self.clause(Form::EnterAfter, dur, span).map(|d| once(&mut enter_after, d)),
                RuleKind::ExitAfter(dur) => self.clause(Form::ExitAfter, dur, span).map(|d| once(&mut exit_after, d)),
                RuleKind::Stay(dur) => self.clause(Form::Stay, dur, span).map(|d| once(&mut stay, d)),
                RuleKind::Cooldown(dur) => self.clause(Form::Cooldown, dur, span).map(|d| once(&mut cooldown, d)),
                RuleKind::Expire(dur) => self.clause(Form::Expire, dur, span).map(|d| once(&mut expire, d)),
                RuleKind::Settle(dur) => self.clause(Form::Settle, dur, span).map(|d| once(&mut settle, d)),
                RuleKind::RequireConsent(names) => {
                    self.gate(Form::RequireConsent, span);
                    names
                        .iter()
                        .try_for_each(|name| {
                            let purpose = self.purpose(name)?;
                            if !require_consent.contains(&purpose) {
                                require_consent.push(purpose);
                            }
                            Ok(())
                        })
                        .map(|()| true)
                }
                RuleKind::Timezone(zone) => self.timezone(zone).map(|z| once(&mut timezone, z)),
                RuleKind::Backfill(mode) => {
                    if matches!(mode, tree::Backfill::Replay) {
                        self.gate(Form::BackfillReplay, span);
                    }
                    Ok(once(&mut backfill, *mode))
                }
                RuleKind::Emit(fields) => self.emit(fields).map(|f| once(&mut emit, f)),
            };
            match result {
                Ok(true) => {}
                Ok(false) => {
                    let help = "join conditions by `and` or `or` in one clause";
                    self.report.help(Code::E12, span, "this clause stands twice", help);
                    failed = true;
                }
                Err(Stop) => failed = true,
            }
        }
        failed |= self
            .exclusions(&[("enter after", enter_after), ("exit after", exit_after), ("stay at least", stay)], stay, expire, settle)
            .is_err();
        let key = segment.rules.iter().find_map(|rule| match &rule.kind {
            RuleKind::Emit(fields) => fields.iter().find(|f| matches!(f.term.kind, TermKind::Key)),
            _ => None,
        });
        if let Some(field) = key
            && self.keyed != 1
            && !failed
        {
            let message = format!("`key` is that of the definition's one `per` condition, and it has {}", self.keyed);
            return self.fail(Code::E09, field.span, message);
        }
        let (Some((when, when_at)), false) = (when, failed) else { return Err(Stop) };
        if let Some((exit, at)) = &exit_when
            && warnings::follows(&when, exit)
        {
            let help = "exit wins over entry, so nobody ever enters";
            self.report.help(Code::W04, *at, "the exit condition is true whenever the entry condition is", help);
        }
        if let Some((exit, at)) = &exit_when
            && expire.is_none()
            && !warnings::follows(&when, exit)
            && latch::needs_an_event(exit)
        {
            let help = "if a membership should end by itself, add for example `expire after 90d`";
            self.report.help(Code::W05, *at, "nothing but an event ends this membership, so it may last for ever", help);
        }
        if !self.variable {
            self.report.add(Code::W08, when_at, format!("segment `{}` can never change", segment.name.text));
        }
        require_consent.sort_unstable();
        let plain = |clause: Clause| clause.map(|(ms, _)| ms);
        let segment = Segment {
            when,
            exit_when: exit_when.map(|(e, _)| e),
            enter_after: plain(enter_after),
            exit_after: plain(exit_after),
            stay: plain(stay),
            cooldown: plain(cooldown),
            expire: plain(expire),
            settle: plain(settle),
            require_consent,
            timezone: timezone.unwrap_or(Zone::Customer),
            backfill: match backfill {
                Some(tree::Backfill::Replay) => Backfill::Replay,
                Some(tree::Backfill::None) => Backfill::None,
                Some(tree::Backfill::State) | None => Backfill::State,
            },
            emit: emit.unwrap_or_default(),
        };
        Ok((DefinitionKind::Segment(segment), meta))
    }

    /// The condition of a clause, with the warnings that it leaves.
    fn rule_condition(&mut self, expr: &'t tree::Expr) -> Checked<super::super::definition::Expr> {
        let lowered = self.condition(expr);
        warnings::flush(self);
        lowered
    }

    fn clause(&mut self, form: Form, dur: &'t tree::Dur, span: Span) -> Checked<(Millis, Span)> {
        self.gate(form, span);
        Ok((self.positive(dur)?, span))
    }

    /// Clauses that exclude each other (LANGUAGE.md R11, R35).
    fn exclusions(&mut self, delays: &[(&str, Clause)], stay: Clause, expire: Clause, settle: Clause) -> Checked<()> {
        if let (Some((stay, at)), Some((expire, _))) = (stay, expire)
            && stay > expire
        {
            let message = format!("`stay at least {stay}` is longer than `expire after {expire}`");
            return self.fail_help(Code::E13, at, message, "a membership that expires cannot be kept longer than that");
        }
        if let Some((settle, at)) = settle {
            for (word, delay) in delays {
                if let Some((delay, _)) = delay
                    && settle >= *delay
                {
                    let message = format!("`settle {settle}` is not shorter than `{word} {delay}`");
                    return self.fail(Code::E13, at, message);
                }
            }
        }
        Ok(())
    }

    fn timezone(&mut self, zone: &Timezone) -> Checked<Zone> {
        Ok(match zone {
            Timezone::Customer => Zone::Customer,
            Timezone::Workspace => Zone::Workspace,
            Timezone::Named(name, span) => {
                super::catalogue::zone(name, *span, self.report)?;
                Zone::Named(name.clone())
            }
        })
    }

    fn emit(&mut self, fields: &'t [Field]) -> Checked<Vec<EmitField>> {
        let mut emit: Vec<EmitField> = Vec::new();
        let mut failed = false;
        for field in fields {
            match self.field(field) {
                Ok(lowered) if emit.iter().any(|f| f.name == lowered.name) => {
                    let help = "give one of them another name: `total = cart.value`";
                    self.report.help(Code::E12, field.span, format!("`{}` is emitted twice", lowered.name), help);
                    failed = true;
                }
                Ok(lowered) => emit.push(lowered),
                Err(Stop) => failed = true,
            }
        }
        if failed { Err(Stop) } else { Ok(emit) }
    }

    fn field(&mut self, field: &'t Field) -> Checked<EmitField> {
        let (term, _) = self.term(&field.term)?;
        if is_whole_cart(&term) {
            return self.fail_help(
                Code::E03,
                field.span,
                "the cart as a whole is no value",
                "emit `cart.value`, `cart.quantity` or `cart.items`",
            );
        }
        let name = match (&field.name, &field.term.kind) {
            (Some(name), _) => name.text.clone(),
            (None, TermKind::Path(path)) => path[path.len() - 1].text.clone(),
            (None, _) => "key".into(),
        };
        Ok(EmitField { name, term })
    }

    fn decimal(&mut self, number: &Number) -> Checked<Decimal> {
        match parse_scaled(&number.text, Decimal::DIGITS) {
            Some(n) => Ok(Decimal(n)),
            None => self.fail(Code::E14, number.span, format!("`{}` is too large", number.text)),
        }
    }

    fn score(&mut self, score: &'t tree::Score) -> Checked<(DefinitionKind, Meta)> {
        let meta = self.meta(&score.meta);
        let half_life = match &score.half_life {
            Some(dur) => self.positive(dur)?,
            None => return Err(Stop),
        };
        let mut rules = Vec::new();
        let mut failed = false;
        for rule in &score.rules {
            let lowered = self.selector(&rule.selector).and_then(|selected| {
                let add = rule.add.as_ref().map(|n| self.decimal(n)).transpose()?;
                Ok(ScoreRule { selector: selected.selector, add })
            });
            match lowered {
                Ok(rule) => rules.push(rule),
                Err(Stop) => failed = true,
            }
        }
        if failed {
            return Err(Stop);
        }
        if rules.is_empty() {
            let message = format!("score `{}` counts nothing", score.name.text);
            return self.fail_help(Code::E01, score.name.span, message, "for example `add_to_cart + 6`");
        }
        let cap = score.cap.as_ref().map(|n| self.decimal(n)).transpose()?;
        Ok((DefinitionKind::Score(Score { half_life, rules, cap }), meta))
    }

    fn points(&mut self, points: &'t tree::Points) -> Checked<(DefinitionKind, Meta)> {
        self.gate(Form::Points, points.name.span);
        let meta = self.meta(&points.meta);
        let mut rules = Vec::new();
        let mut failed = false;
        for (number, expr) in &points.rules {
            match (self.decimal(number), self.rule_condition(expr)) {
                (Ok(number), Ok(expr)) => rules.push((number, expr)),
                _ => failed = true,
            }
        }
        if failed { Err(Stop) } else { Ok((DefinitionKind::Points(Points { rules }), meta)) }
    }

    fn stages(&mut self, stages: &'t tree::Stages) -> Checked<(DefinitionKind, Meta)> {
        self.gate(Form::Stages, stages.name.span);
        let meta = self.meta(&stages.meta);
        let names: Vec<&tree::Name> = stages.stages.iter().map(|(n, _)| n).chain(&stages.otherwise).collect();
        for (i, name) in names.iter().enumerate() {
            if let Some(first) = names[..i].iter().find(|n| n.text == name.text) {
                super::twice(self.world, self.report, "stage", name, first.span);
            }
        }
        let mut lowered: Vec<(String, super::super::definition::Expr)> = Vec::new();
        let mut failed = false;
        for (name, expr) in &stages.stages {
            match self.rule_condition(expr) {
                Ok(expr) => {
                    let above = lowered.iter().find(|(_, above)| warnings::follows(&expr, above));
                    if let Some((above, _)) = above {
                        let help = "the first stage that holds counts: the narrower condition stands above";
                        let message = format!("stage `{}` is never reached: `{above}` above it holds whenever it does", name.text);
                        self.report.help(Code::W07, name.span, message, help);
                    }
                    lowered.push((name.text.clone(), expr));
                }
                Err(Stop) => failed = true,
            }
        }
        match (&stages.otherwise, failed) {
            (Some(otherwise), false) => Ok((DefinitionKind::Stages(Stages { stages: lowered, otherwise: otherwise.text.clone() }), meta)),
            _ => Err(Stop),
        }
    }
}

/// Sets what is not set yet; `false` if it was.
fn once<T>(place: &mut Option<T>, value: T) -> bool {
    let first = place.is_none();
    place.get_or_insert(value);
    first
}
