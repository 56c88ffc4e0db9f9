//! Items: lets, segments, scores, points, stages, and the loop over a file.

use super::super::diagnostic::{Code, nearest};
use super::super::lexer::Kind;
use super::super::tree::{
    Backfill, Field, Item, ItemKind, Let, LetValue, Meta, MetaKind, Name, Number, Points, Rule, RuleKind, Score, ScoreRule, Segment,
    Stages, Term, TermKind, Timezone,
};
use super::{Mark, Parsed, Parser, Stop};

const ITEMS: [&str; 11] = ["segment", "score", "points", "stages", "let", "workspace", "event", "trait", "purpose", "list", "cart"];

const SEGMENT_CLAUSES: [&str; 16] = [
    "when",
    "exit",
    "enter",
    "stay",
    "cooldown",
    "expire",
    "settle",
    "require",
    "timezone",
    "backfill",
    "emit",
    "name",
    "description",
    "owner",
    "tags",
    "let",
];

impl Parser<'_> {
    pub(super) fn file(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        while !self.is_end() {
            let errors = self.report.errors();
            let start = self.at;
            self.depth = 0;
            self.in_filter = false;
            self.gave_up = false;
            self.unreadable = false;
            self.mark(Mark::Item);
            match self.item() {
                Ok(kind) => items.push(Item { kind, broken: self.gave_up || self.report.errors() > errors }),
                Err(Stop) => {
                    if self.at == start {
                        self.bump();
                    }
                    items.extend(self.lost_name(start));
                    self.recover(|p| p.small_item_starts());
                    // What is left of a body that was given up.
                    while self.is_sign("}") {
                        self.bump();
                    }
                }
            }
        }
        items
    }

    /// The name after the word that opened an item, so that its uses are not called unknown.
    fn lost_name(&self, start: usize) -> Option<Item> {
        let token = self.tokens.get(start + 1)?;
        let (text, quoted) = match &token.kind {
            Kind::Word => (self.text_of(token).to_string(), false),
            Kind::Quoted(text) => (text.clone(), true),
            _ => return None,
        };
        let opens = ITEMS.contains(&self.text_of(&self.tokens[start]));
        opens.then_some(Item { kind: ItemKind::Lost(Name { text, quoted, span: token.span }), broken: true })
    }

    /// An item with a body starts here. Asked also inside of bodies, to notice a `}` that is missing.
    pub(super) fn item_starts(&self) -> bool {
        match self.word(0) {
            "segment" | "score" | "points" | "stages" => self.is_name_at(1) && self.word(1) != "record" && self.is_sign_at(2, "{"),
            "event" => {
                self.is_name_at(1)
                    && self.word(1) != "record"
                    && (self.is_sign_at(2, "{") || self.word(2) == "is" && self.word(3) == "activity")
            }
            "workspace" | "cart" => self.is_sign_at(1, "{"),
            _ => false,
        }
    }

    fn small_item_starts(&self) -> bool {
        match self.word(0) {
            "let" => self.is_name_at(1) && self.is_sign_at(2, "="),
            "trait" | "purpose" | "list" => self.is_name_at(1),
            _ => false,
        }
    }

    fn item(&mut self) -> Parsed<ItemKind> {
        Ok(match self.word(0) {
            "let" => ItemKind::Let(self.let_item()?),
            "segment" => ItemKind::Segment(self.segment()?),
            "score" => ItemKind::Score(self.score()?),
            "points" => ItemKind::Points(self.points()?),
            "stages" => ItemKind::Stages(self.stages()?),
            "workspace" => ItemKind::Workspace(self.workspace()?),
            "event" => ItemKind::Event(self.event()?),
            "trait" => {
                self.bump();
                ItemKind::Trait(self.property()?)
            }
            "purpose" => self.purpose()?,
            "list" => {
                self.bump();
                ItemKind::List(self.declared_name("the name of the list")?)
            }
            "cart" => self.cart()?,
            _ => return self.unknown_word("a definition such as `segment` or `event`", &ITEMS),
        })
    }

    /// `KIND NAME {`.
    fn opening(&mut self, what: &str) -> Parsed<Name> {
        self.bump();
        let name = self.declared_name(what)?;
        self.expect_sign("{")?;
        Ok(name)
    }

    /// Runs `clause` until the body's `}`; a clause that fails is left behind. `starts` says where a clause may start.
    pub(super) fn body(&mut self, what: &str, starts: impl Fn(&Self) -> bool, mut clause: impl FnMut(&mut Self) -> Parsed<()>) {
        loop {
            if self.take_sign("}") {
                return;
            }
            if self.is_end() || self.item_starts() {
                self.gave_up = true;
                if !self.unreadable {
                    let _: Parsed<()> = self.expected(&format!("`}}` at the end of {what}"), None);
                }
                return;
            }
            self.mark(Mark::Clause);
            let (start, depth) = (self.at, self.depth);
            if clause(self).is_err() {
                self.depth = depth;
                self.in_filter = false;
                self.gave_up = true;
                if self.at == start {
                    self.bump();
                }
                self.recover(&starts);
            }
        }
    }

    fn let_item(&mut self) -> Parsed<Let> {
        self.bump();
        let name = self.declared_name("the name of the let")?;
        self.expect_sign("=")?;
        Ok(Let { name, value: self.let_value()? })
    }

    fn let_value(&mut self) -> Parsed<LetValue> {
        if matches!(self.kind(), Kind::Duration(_)) && !self.continues_a_term(1) {
            return Ok(LetValue::Duration(self.duration()?));
        }
        if self.selector_stands_here() {
            return Ok(LetValue::Selector(self.selector()?));
        }
        Ok(LetValue::Expr(self.expression()?))
    }

    /// `a[..]`, `(a | b)` or `(a[..])`: what no expression can be. A lone name is left to the checker.
    fn selector_stands_here(&self) -> bool {
        let grouped = usize::from(self.is_sign("("));
        self.is_name_at(grouped) && (self.is_sign_at(grouped + 1, "[") || grouped == 1 && self.is_sign_at(2, "|"))
    }

    fn segment_clause_starts(&self) -> bool {
        let next = self.word(1);
        let amount = matches!(self.token(1).kind, Kind::Duration(_) | Kind::Word | Kind::Quoted(_));
        match self.word(0) {
            "when" => true,
            "exit" => matches!(next, "when" | "after"),
            "enter" | "expire" => next == "after",
            "stay" => next == "at",
            "cooldown" | "settle" => amount,
            "require" => next == "consent",
            "timezone" => matches!(next, "customer" | "workspace") || matches!(self.token(1).kind, Kind::Text(_)),
            "backfill" => matches!(next, "state" | "replay" | "none"),
            "emit" => self.is_name_at(1),
            "let" => self.is_name_at(1) && self.is_sign_at(2, "="),
            _ => self.meta_starts(),
        }
    }

    fn meta_starts(&self) -> bool {
        match self.word(0) {
            "name" | "description" | "owner" => matches!(self.token(1).kind, Kind::Text(_)),
            "tags" => self.is_name_at(1),
            _ => false,
        }
    }

    fn meta(&mut self) -> Parsed<Meta> {
        let span = self.span();
        let word = self.word(0);
        self.bump();
        let kind = match word {
            "tags" => MetaKind::Tags(self.names("a tag")?),
            _ => {
                let (text, _) = self.string("a text")?;
                match word {
                    "name" => MetaKind::Name(text),
                    "description" => MetaKind::Description(text),
                    _ => MetaKind::Owner(text),
                }
            }
        };
        Ok(Meta { kind, span })
    }

    fn segment(&mut self) -> Parsed<Segment> {
        let name = self.opening("the name of the segment")?;
        let mut segment = Segment { name, meta: Vec::new(), lets: Vec::new(), rules: Vec::new() };
        let what = format!("segment `{}`", segment.name.text);
        self.body(&what, Self::segment_clause_starts, |p| {
            match p.word(0) {
                "name" | "description" | "owner" | "tags" => segment.meta.push(p.meta()?),
                "let" => {
                    let item = p.let_item()?;
                    segment.lets.push(item);
                }
                _ => segment.rules.push(p.rule()?),
            }
            Ok(())
        });
        if !segment.rules.iter().any(|r| matches!(r.kind, RuleKind::When(_))) && !self.gave_up {
            let help = Some("a segment says who belongs to it: `when any login in last 7d`");
            let message = format!("segment `{}` has no `when`", segment.name.text);
            let _: Parsed<()> = self.error(Code::E01, segment.name.span, message, help);
        }
        Ok(segment)
    }

    fn rule(&mut self) -> Parsed<Rule> {
        let span = self.span();
        let word = self.word(0);
        if !SEGMENT_CLAUSES.contains(&word) {
            return self.unknown_clause();
        }
        self.bump();
        let kind = match word {
            "when" => RuleKind::When(self.expression()?),
            "exit" if self.take_word("when") => RuleKind::ExitWhen(self.expression()?),
            "exit" if self.take_word("after") => RuleKind::ExitAfter(self.duration()?),
            "exit" => return self.expected("`when` or `after` after `exit`", None),
            "enter" => {
                self.expect_word("after")?;
                RuleKind::EnterAfter(self.duration()?)
            }
            "stay" => {
                self.expect_words(&["at", "least"])?;
                RuleKind::Stay(self.duration()?)
            }
            "cooldown" => RuleKind::Cooldown(self.duration()?),
            "expire" => {
                self.expect_word("after")?;
                RuleKind::Expire(self.duration()?)
            }
            "settle" => RuleKind::Settle(self.duration()?),
            "require" => {
                self.expect_word("consent")?;
                RuleKind::RequireConsent(self.names("the name of a purpose")?)
            }
            "timezone" => RuleKind::Timezone(self.timezone()?),
            "backfill" => RuleKind::Backfill(self.backfill()?),
            "emit" => RuleKind::Emit(self.fields()?),
            _ => return self.unknown_clause(),
        };
        Ok(Rule { kind, span })
    }

    /// What stands behind a complete clause and starts none.
    fn unknown_clause<T>(&mut self) -> Parsed<T> {
        let meant = if *self.kind() == Kind::Word { nearest(self.word(0), SEGMENT_CLAUSES) } else { None };
        let help = match self.kind() {
            Kind::Sign("(") => {
                Some("a word before `(` must be one of count sum avg min max distinct first last score stage points".to_string())
            }
            Kind::Word => meant.map(|w| format!("did you mean `{w}`?")),
            _ => None,
        };
        let (span, stop) = (self.span(), self.expected("`and`, `or`, a clause such as `exit when`, or `}`", help.as_deref()));
        if let Some(meant) = meant {
            self.report.fix(span, meant);
        }
        stop
    }

    fn timezone(&mut self) -> Parsed<Timezone> {
        if self.take_word("customer") {
            Ok(Timezone::Customer)
        } else if self.take_word("workspace") {
            Ok(Timezone::Workspace)
        } else {
            let (name, span) = self.string("`customer`, `workspace` or the name of a zone")?;
            Ok(Timezone::Named(name, span))
        }
    }

    fn backfill(&mut self) -> Parsed<Backfill> {
        let backfill = match self.word(0) {
            "state" => Backfill::State,
            "replay" => Backfill::Replay,
            "none" => Backfill::None,
            _ => return self.unknown_word("`state`, `replay` or `none`", &["state", "replay", "none"]),
        };
        self.bump();
        Ok(backfill)
    }

    fn fields(&mut self) -> Parsed<Vec<Field>> {
        let mut fields = vec![self.field()?];
        while self.take_sign(",") {
            fields.push(self.field()?);
        }
        Ok(fields)
    }

    fn field(&mut self) -> Parsed<Field> {
        let span = self.span();
        let name = if self.is_name_at(0) && self.is_sign_at(1, "=") {
            let name = self.name("a name")?;
            self.bump();
            Some(name)
        } else {
            None
        };
        let term = if self.is_word("key") && !self.is_sign_at(1, ".") {
            let span = self.span();
            self.bump();
            Term { kind: TermKind::Key, span }
        } else {
            self.term()?
        };
        if name.is_none() && !matches!(term.kind, TermKind::Path(_) | TermKind::Key) {
            let help = Some("for example `emit spent = sum(order_completed.total) in last 90d`");
            return self.error(Code::E01, term.span, "a term that is emitted needs a name".into(), help);
        }
        Ok(Field { name, span: span.to(self.last_span()), term })
    }

    fn score_clause_starts(&self) -> bool {
        match self.word(0) {
            "half_life" => !matches!(self.token(1).kind, Kind::Sign(_)),
            "cap" => matches!(self.token(1).kind, Kind::Int(_) | Kind::Number(_)),
            _ => self.meta_starts() || self.is_name_at(0) || self.is_sign("("),
        }
    }

    fn score(&mut self) -> Parsed<Score> {
        let name = self.opening("the name of the score")?;
        let mut score = Score { name, meta: Vec::new(), half_life: None, rules: Vec::new(), cap: None };
        let what = format!("score `{}`", score.name.text);
        self.body(&what, Self::score_clause_starts, |p| {
            let span = p.span();
            if p.meta_starts() {
                score.meta.push(p.meta()?);
            } else if p.is_word("half_life") && !matches!(p.token(1).kind, Kind::Sign("+" | "-" | "[")) {
                p.bump();
                let half_life = p.duration()?;
                if score.half_life.replace(half_life).is_some() {
                    return p.error(Code::E12, span, "`half_life` stands twice".into(), None);
                }
            } else if p.is_word("cap") && matches!(p.token(1).kind, Kind::Int(_) | Kind::Number(_)) {
                p.bump();
                let cap = p.number(false)?;
                if score.cap.replace(cap).is_some() {
                    return p.error(Code::E12, span, "`cap` stands twice".into(), None);
                }
            } else {
                let selector = p.selector()?;
                let add = if p.is_sign("+") || p.is_sign("-") {
                    Some(p.number(true)?)
                } else if p.take_word("resets") {
                    None
                } else {
                    return p.expected("`+`, `-` or `resets` after the event", Some("for example `add_to_cart + 6`"));
                };
                score.rules.push(ScoreRule { selector, add });
            }
            Ok(())
        });
        if score.half_life.is_none() && !self.gave_up {
            let message = format!("score `{}` has no `half_life`", score.name.text);
            let _: Parsed<()> = self.error(Code::E01, score.name.span, message, Some("for example `half_life 2d`"));
        }
        Ok(score)
    }

    /// A plain number; with its sign where `signed`.
    fn number(&mut self, signed: bool) -> Parsed<Number> {
        let span = self.span();
        let mut text = String::new();
        if signed {
            if self.is_sign("-") {
                text.push('-');
            }
            self.bump();
        }
        match self.kind() {
            Kind::Int(digits) | Kind::Number(digits) => text.push_str(digits),
            _ => return self.expected("a number", None),
        }
        self.bump();
        Ok(Number { text, span: span.to(self.last_span()) })
    }

    /// `[-] NUMBER`.
    pub(super) fn coordinate(&mut self) -> Parsed<Number> {
        let signed = self.is_sign("-");
        self.number(signed)
    }

    fn points(&mut self) -> Parsed<Points> {
        let name = self.opening("the name of the points")?;
        let mut points = Points { name, meta: Vec::new(), rules: Vec::new() };
        let what = format!("points `{}`", points.name.text);
        let starts = |p: &Self| matches!(p.word(0), "give" | "take") || p.meta_starts();
        self.body(&what, starts, |p| {
            if p.meta_starts() {
                points.meta.push(p.meta()?);
                return Ok(());
            }
            let take = match p.word(0) {
                "give" => false,
                "take" => true,
                _ => return p.unknown_word("`give`, `take` or `}`", &["give", "take"]),
            };
            p.bump();
            let mut number = p.number(false)?;
            if take {
                number.text.insert(0, '-');
            }
            p.expect_word("when")?;
            let condition = p.expression()?;
            points.rules.push((number, condition));
            Ok(())
        });
        Ok(points)
    }

    fn stages(&mut self) -> Parsed<Stages> {
        let name = self.opening("the name of the stages")?;
        let mut stages = Stages { name, meta: Vec::new(), stages: Vec::new(), otherwise: None };
        let what = format!("stages `{}`", stages.name.text);
        let starts = |p: &Self| p.meta_starts() || p.is_name_at(0) && matches!(p.word(1), "when" | "otherwise");
        self.body(&what, starts, |p| {
            if p.meta_starts() {
                stages.meta.push(p.meta()?);
                return Ok(());
            }
            if let Some(last) = &stages.otherwise {
                let message = format!("`{}` stands after the stage that holds otherwise, so it can never hold", p.word(0));
                let (span, help) = (p.span(), format!("`{} otherwise` is the last line", last.text));
                return p.error(Code::E01, span, message, Some(&help));
            }
            let stage = p.name("the name of a stage")?;
            if p.take_word("otherwise") {
                stages.otherwise = Some(stage);
            } else if p.take_word("when") {
                let condition = p.expression()?;
                stages.stages.push((stage, condition));
            } else {
                return p.expected("`when` or `otherwise` after the name of a stage", None);
            }
            Ok(())
        });
        if stages.otherwise.is_none() && !self.gave_up {
            let message = format!("stages `{}` has no stage that holds otherwise", stages.name.text);
            let _: Parsed<()> = self.error(Code::E01, stages.name.span, message, Some("end with a line such as `prospect otherwise`"));
        }
        Ok(stages)
    }

    /// What a term of its own would swallow after its first value.
    fn continues_a_term(&self, ahead: usize) -> bool {
        match &self.token(ahead).kind {
            Kind::Sign(sign) => matches!(*sign, "+" | "-" | "*" | "/" | "=" | "!=" | "<" | "<=" | ">" | ">="),
            _ => false,
        }
    }
}
