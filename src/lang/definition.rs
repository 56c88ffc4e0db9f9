//! The checked definitions: what `lang` hands to `plan`, to the oracle in `testing` and to whoever explains.
//!
//! Everything is resolved (names are indexes into the [`Catalogue`] or the workspace), typed, lets are inlined, `any / no / at least /
//! at most / exactly` are comparisons on `count`, `!=` is `not =`. A [`Workspace`] holds only forms that this version evaluates; the
//! checker refuses the rest with E16, so later modules match exhaustively and never meet a surprise.

use crate::ids::{DefinitionIndex, EventIndex, ListIndex, PurposeIndex, SemanticHash, SetHash, TraitIndex};
use crate::model::{Catalogue, Type, Value};
use crate::time::Millis;

/// One folder of `.seg` files, checked.
#[derive(Clone, Debug)]
pub struct Workspace {
    pub catalogue: Catalogue,
    /// Ordered by (depth over references, name): what a definition refers to stands before it.
    pub definitions: Vec<Definition>,
    pub hash: SetHash,
}

#[derive(Clone, Debug)]
pub struct Definition {
    pub name: String,
    pub kind: DefinitionKind,
    /// Of the canonical form (LANGUAGE.md 7), with the hashes of what it refers to.
    pub hash: SemanticHash,
    pub meta: Meta,
    /// 0 where it refers to no other definition, else one more than the deepest.
    pub depth: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    pub name: Option<String>,
    pub description: Option<String>,
    pub owner: Option<String>,
    pub tags: Vec<String>,
}

// Nearly all definitions are segments.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum DefinitionKind {
    Segment(Segment),
    Score(Score),
    Points(Points),
    Stages(Stages),
}

#[derive(Clone, Debug)]
pub struct Segment {
    pub when: Expr,
    pub exit_when: Option<Expr>,
    pub enter_after: Option<Millis>,
    pub exit_after: Option<Millis>,
    pub stay: Option<Millis>,
    pub cooldown: Option<Millis>,
    pub expire: Option<Millis>,
    pub settle: Option<Millis>,
    pub require_consent: Vec<PurposeIndex>,
    pub timezone: Zone,
    pub backfill: Backfill,
    pub emit: Vec<EmitField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Zone {
    /// The trait `timezone` if the catalogue has it, else the workspace's.
    Customer,
    Workspace,
    Named(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backfill {
    State,
    Replay,
    None,
}

#[derive(Clone, Debug)]
pub struct EmitField {
    pub name: String,
    pub term: Term,
}

/// A score: contributions that halve every `half_life` (LANGUAGE.md S34, R18).
#[derive(Clone, Debug)]
pub struct Score {
    pub half_life: Millis,
    pub rules: Vec<ScoreRule>,
    pub cap: Option<crate::model::Decimal>,
}

#[derive(Clone, Debug)]
pub struct ScoreRule {
    pub selector: Selector,
    /// `None`: resets. Signed otherwise.
    pub add: Option<crate::model::Decimal>,
}

#[derive(Clone, Debug)]
pub struct Points {
    /// Signed points and their condition.
    pub rules: Vec<(crate::model::Decimal, Expr)>,
}

#[derive(Clone, Debug)]
pub struct Stages {
    /// From top to bottom; the first that holds is the stage.
    pub stages: Vec<(String, Expr)>,
    pub otherwise: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Everyone,
    /// A comparison with a missing side is false. `ignore_case` on text only.
    Compare {
        left: Term,
        rel: Rel,
        right: Term,
        ignore_case: bool,
    },
    /// Both ends included.
    Between {
        of: Term,
        low: Term,
        high: Term,
    },
    /// `in [..]` of literals of the term's type.
    Member {
        of: Term,
        values: Vec<Value>,
        ignore_case: bool,
    },
    /// `in a..b`: `[from, to)`; a range of clock times may wrap.
    HalfOpen {
        of: Term,
        from: Value,
        to: Value,
    },
    /// `for at least D`.
    HeldFor {
        of: Box<Expr>,
        at_least: Millis,
    },
    /// `first(x)` or `last(x)` with a window on its `ts`.
    EventIn {
        which: Which,
        of: Selector,
        window: Window,
    },
    /// `count(of) [per] within a period of `unit` compares as asked in at least `n` of the last `m` periods.
    NofM {
        of: Selector,
        rel: Rel,
        count: u32,
        n: u32,
        m: u32,
        unit: Unit,
    },
    Sequence(Sequence),
    InSegment(DefinitionIndex),
    InList(ListIndex),
    Crossed {
        direction: Direction,
        segment: DefinitionIndex,
        window: Window,
    },
    Consent(PurposeIndex),
    /// An instant or a date against a window around now.
    TimeIn {
        of: Term,
        window: TimeWindow,
    },
    Anniversary {
        of: Term,
        days: u32,
    },
    Contains {
        of: Term,
        what: Containment,
        ignore_case: bool,
    },
    /// Some element of a list of records satisfies the filter, whose paths are [`Path::Property`] of the element.
    Has {
        of: Term,
        filter: Box<Expr>,
    },
    StartsWith {
        of: Term,
        prefix: String,
        ignore_case: bool,
    },
    EndsWith {
        of: Term,
        suffix: String,
        ignore_case: bool,
    },
    Matches {
        of: Term,
        pattern: String,
    },
    Near {
        of: Term,
        metres: f64,
        lat: f64,
        lon: f64,
    },
    /// Lists and carts: no element. Text: unknown or `""`.
    Empty(Term),
    /// `is known`; `is unknown` is its negation.
    Known(Term),
    Rank {
        of: Term,
        top: bool,
        millionths: u32,
    },
}

impl Expr {
    /// Conditions that it is made of. The filter of [`Expr::Has`] is none of them: it is about the elements of a list.
    pub fn operands(&self) -> &[Expr] {
        match self {
            Expr::And(all) | Expr::Or(all) => all,
            Expr::Not(of) | Expr::HeldFor { of, .. } => std::slice::from_ref(of),
            _ => &[],
        }
    }

    /// Terms that it reads, in the order of the text; not those of its operands, nor those inside of a term.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        let all = match self {
            Expr::Compare { left, right, .. } => [Some(left), Some(right), None],
            Expr::Between { of, low, high } => [Some(of), Some(low), Some(high)],
            Expr::Member { of, .. }
            | Expr::HalfOpen { of, .. }
            | Expr::TimeIn { of, .. }
            | Expr::Anniversary { of, .. }
            | Expr::Contains { of, .. }
            | Expr::Has { of, .. }
            | Expr::StartsWith { of, .. }
            | Expr::EndsWith { of, .. }
            | Expr::Matches { of, .. }
            | Expr::Near { of, .. }
            | Expr::Rank { of, .. }
            | Expr::Empty(of)
            | Expr::Known(of) => [Some(of), None, None],
            Expr::And(_)
            | Expr::Or(_)
            | Expr::Not(_)
            | Expr::Everyone
            | Expr::HeldFor { .. }
            | Expr::EventIn { .. }
            | Expr::NofM { .. }
            | Expr::Sequence(_)
            | Expr::InSegment(_)
            | Expr::InList(_)
            | Expr::Crossed { .. }
            | Expr::Consent(_) => [None; 3],
        };
        all.into_iter().flatten()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rel {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Entered,
    Left,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Containment {
    /// Text: a substring. List: an element.
    One(Value),
    Any(Vec<Value>),
    All(Vec<Value>),
}

/// What is counted: a union of event types, each with a filter of its own. `activity` and names with `*` are expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// Sorted by (events, filter as canonical text), no duplicates. One event counts once, however many members match.
    pub members: Vec<SelectorMember>,
    /// As the author wrote it, for reasons and explanations; not part of its identity.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SelectorMember {
    /// Sorted, not empty.
    pub events: Vec<EventRef>,
    /// Sees only the event: its paths are [`Path::Property`] and [`Path::Local`].
    pub filter: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventRef {
    Catalogue(EventIndex),
    /// The built-in `trait_changed`, with the properties `name`, `from`, `to`.
    TraitChanged,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    Literal(Value),
    Path(Path),
    Aggregate {
        function: Aggregate,
        of: Selector,
        property: Option<Vec<String>>,
        per: Option<Vec<String>>,
        window: Window,
    },
    /// `last(x).p`; `property` empty is `.at`, the event's `ts`. `ty` is the property's type (`Instant` for `.at`).
    OfEvent {
        which: Which,
        of: Selector,
        property: Vec<String>,
        ty: Type,
    },
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Term>,
        right: Box<Term>,
    },
    Score(DefinitionIndex),
    Points(DefinitionIndex),
    Stage(DefinitionIndex),
    /// In millionths of the whole, of the salt.
    Bucket(String),
    Ntile {
        n: u32,
        of: Box<Term>,
    },
    Band {
        of: Box<Term>,
        bounds: Vec<Value>,
    },
    Age(Box<Term>),
    /// `emit key`: the key of the definition's one `per` condition.
    Key,
}

impl Term {
    /// Terms that it is made of, in the order of the text.
    pub fn operands(&self) -> impl Iterator<Item = &Term> {
        let all: [Option<&Term>; 2] = match self {
            Term::Arithmetic { left, right, .. } => [Some(left), Some(right)],
            Term::Ntile { of, .. } | Term::Band { of, .. } | Term::Age(of) => [Some(of), None],
            Term::Literal(_)
            | Term::Path(_)
            | Term::Aggregate { .. }
            | Term::OfEvent { .. }
            | Term::Score(_)
            | Term::Points(_)
            | Term::Stage(_)
            | Term::Bucket(_)
            | Term::Key => [None; 2],
        };
        all.into_iter().flatten()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    Count,
    Sum,
    Avg,
    Min,
    Max,
    Distinct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    Add,
    Sub,
    Mul,
    Div,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Path {
    /// Inside a filter: a property of the event (or of a list's element), by name, since a union's events may each have it at another
    /// place. More than one name reaches into a record.
    Property {
        path: Vec<String>,
        ty: Type,
    },
    /// `customer.x`; the rest of the path reaches into a record trait.
    Trait {
        index: TraitIndex,
        rest: Vec<String>,
        ty: Type,
    },
    /// `customer.first_seen`.
    FirstSeen,
    Cart(CartPath),
    Local(LocalPath),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CartPath {
    /// `cart is empty`.
    Whole,
    /// Money in the workspace's currency.
    Value,
    /// Sum of quantities, an int.
    Quantity,
    /// The lines; in `emit` their number.
    Items,
    /// An instant.
    ChangedAt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalPath {
    Time,
    Weekday,
    Hour,
    Date,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Session,
    Day,
    Week,
    Month,
    Year,
}

/// Which events count, by age `t - ts` or by calendar (LANGUAGE.md S6, S10).
#[derive(Clone, Debug, PartialEq)]
pub enum Window {
    Ever,
    /// `in last D`: `0 <= age < D`.
    Last(Millis),
    /// `at least D ago`: `age >= D`.
    Older(Millis),
    /// `between A and B ago`: `A <= age < B`.
    Between {
        from: Millis,
        to: Millis,
    },
    This(Unit),
    /// `in last N full UNIT`.
    Full {
        n: u32,
        unit: Unit,
    },
    SinceLast(Box<Selector>),
    /// `[from, to)`; `to` absent is open.
    Dates {
        from: DayBound,
        to: Option<DayBound>,
    },
}

/// Windows that an instant can be in: those of events, and the future.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeWindow {
    Past(Window),
    /// `in next D`: `0 < x - t <= D`.
    Next(Millis),
    /// `in next N full UNIT`.
    NextFull {
        n: u32,
        unit: Unit,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DayBound {
    /// Local midnight of days since 1970-01-01, in the definition's zone.
    Date(i32),
    Instant(crate::time::Timestamp),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// At least two.
    pub steps: Vec<SequenceStep>,
    pub all_within: Option<Millis>,
    pub per: Option<Vec<String>>,
    pub window: Window,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SequenceStep {
    pub selector: Selector,
    /// `then no`: only the last step, which then has `within` alone.
    pub absent: bool,
    pub within: Option<Millis>,
    pub at_least_later: Option<Millis>,
    pub without: Option<Selector>,
}
